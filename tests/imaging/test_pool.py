"""A file that kills, hangs or bloats its decoder is refused, and takes nothing else with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.images import draw_image, write_dicom
from imaging import pool
from imaging.decode import DecodedImage, SquareOptions, read_square
from imaging.errors import ImageError
from imaging.pool import DecoderPool

OPTIONS = SquareOptions(32)
IMAGE = draw_image(64, 48, seed=0)
# A worker whose decoder does what the first letter of the file's name says.
MISCHIEF = """
import ctypes, os, sys, time
from imaging import decode, worker
def mischief(path, options):
    match path.name[0]:
        case "h": time.sleep(60)
        case "s": ctypes.string_at(0)
        case "k": os.kill(os.getpid(), 9)
        case "b": bytearray(2 << 30)
        case "p": os.write(1, b"noise of a C library"); os.write(2, b"more noise")
    return decode.read_square(path, options)
worker.read_square = mischief
worker.SECONDS_PER_FILE = 0.5
worker.main()
"""


@pytest.fixture
def mischievous(monkeypatch):
    monkeypatch.setattr(pool, "WORKER", ("-c", MISCHIEF))
    with DecoderPool(1) as decoders:
        yield decoders


def test_same_image_as_in_this_process(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE)
    with DecoderPool(1) as decoders:
        image = decoders.decode(path, OPTIONS)
        expected = read_square(path, OPTIONS)
        assert isinstance(image, DecodedImage)
        assert (image.pixels == expected.pixels).all()
        assert (image.height, image.width, image.header) == (expected.height, expected.width, expected.header)
        missing = decoders.decode(tmp_path / "absent", OPTIONS)
        assert isinstance(missing, ImageError)
        assert missing.reason == "missing_file"


def test_only_the_file_is_lost(mischievous, tmp_path, capfd):
    reasons = {}
    for name in ("good", "hang", "segfault", "good", "killed", "bloat", "prints", "good"):
        result = mischievous.decode(write_dicom(tmp_path / name, IMAGE), OPTIONS)
        reasons[name] = "" if isinstance(result, DecodedImage) else result.reason
    assert reasons == {
        "good": "",
        "hang": "decoder_timeout",
        "segfault": "decoder_died",
        "killed": "decoder_died",
        "bloat": "too_much_memory",
        "prints": "",
    }
    assert capfd.readouterr() == ("", "")


def test_many_threads_share_few_processes(tmp_path):
    paths = [write_dicom(tmp_path / str(number), draw_image(40, 30 + number, number)) for number in range(12)]
    with DecoderPool(2) as decoders, ThreadPoolExecutor(6) as threads:
        images = list(threads.map(lambda path: decoders.decode(path, OPTIONS), paths))
    assert [image.width for image in images] == list(range(30, 42))


def test_no_process_outlives_its_pool_or_its_parent(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE)
    code = (
        "import sys, os, signal; from pathlib import Path; from imaging.pool import *; p = DecoderPool(1); "
        "p.decode(Path(sys.argv[1]), SquareOptions(8)); print(p._idle.get()._process.pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], cwd=pool.CHECKOUT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while running(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(int(done.stdout))
    with DecoderPool(1) as decoders:
        decoders.decode(path, OPTIONS)
        worker = decoders._idle.get()
        decoders._idle.put(worker)
        process = worker._process.pid
    assert not running(process)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_cannot_start_is_no_fault_of_the_images(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "WORKER", ("-c", "raise SystemExit('no decoder here')"))
    with DecoderPool(1) as decoders, pytest.raises(RuntimeError, match=r"imaging\.worker"):
        decoders.decode(write_dicom(tmp_path / "image", IMAGE), OPTIONS)


def test_memory_of_a_huge_image_is_bounded(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("RGBA", (8900, 8900)).save(path, compress_level=1)  # below the limit on pixels; needs 1.3 GB
    with DecoderPool(1) as decoders:
        result = decoders.decode(path, OPTIONS)
        assert isinstance(result, ImageError)
        assert result.reason in {"too_much_memory", "decoder_died"}


def test_names_that_are_no_utf8_and_pipes(tmp_path):
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xff\n\xe9lm.dcm"))
    os.rename(write_dicom(tmp_path / "image", IMAGE), strange)
    os.mkfifo(tmp_path / "pipe")
    with DecoderPool(1) as decoders:
        assert isinstance(decoders.decode(strange, OPTIONS), DecodedImage)
        pipe = decoders.decode(tmp_path / "pipe", OPTIONS)
        assert isinstance(pipe, ImageError)
        assert pipe.reason == "missing_file"


def test_pixels_are_bytes_of_the_image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    with DecoderPool(1) as decoders:
        image = decoders.decode(path, SquareOptions(16))
    assert (image.pixels.ravel() == np.arange(256)).all()
