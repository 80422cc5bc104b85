"""A file that kills, occupies or bloats its decoder is refused, and nothing else is lost; a machine costs no file."""

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
from imaging import limits, pool
from imaging.decode import DecodedImage, MaskOptions, SquareOptions, read_square
from imaging.errors import ImageError, MachineError
from imaging.letterbox import letterbox_mask
from imaging.pool import DecoderPool
from store.code import ROOT

OPTIONS = SquareOptions(32)
IMAGE = draw_image(64, 48, seed=0)
# A worker whose decoder does what the file's name says, once if a file `once` lies beside it, else every time.
MISCHIEF = """
import ctypes, mmap, os, resource, signal, sys, time
from imaging import decode, worker
from imaging.errors import ImageError
def spin():
    while True: pass
def map_and_cut(path):
    os.truncate(path, 10000)
    with open(path, "rb") as stream: mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    os.truncate(path, 100)
    mapped[9000]
def leave_behind():
    global kept
    kept = mmap.mmap(-1, 600 << 20)
    raise ImageError("unreadable_pixels")
def fail(number):
    raise OSError(number, os.strerror(number))
def mischief(path, options):
    kind = path.name
    if (path.parent / "once").exists():
        kind = "good" if (path.parent / "twice").exists() else kind
        (path.parent / "twice").touch()
    match kind:
        case "spins": spin()
        case "sleeps": time.sleep(3600)
        case "segfault": ctypes.string_at(0)
        case "bus": map_and_cut(path)
        case "prints": os.write(1, b"noise of a C library"); os.write(2, b"more noise")
        case "exits": os._exit(1)
        case "bloats": bytearray(2 << 30)
        case "leaves": leave_behind()
        case "starved": resource.setrlimit(resource.RLIMIT_AS, (2 << 28, 1 << 30)); raise ImageError("too_much_memory")
        case name if name.startswith("SIG"): os.kill(os.getpid(), getattr(signal, name)); time.sleep(1)
        case name if name.startswith("E"): decode._read(path, lambda *_: fail(getattr(__import__("errno"), name)))
    return decode.read_square(path, options)
worker.read_film = mischief
worker.CPU_SECONDS_PER_FILE = 0.5
worker.main()
"""


@pytest.fixture
def mischievous(monkeypatch):
    monkeypatch.setattr(pool, "WORKER", ("-c", MISCHIEF))
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 0.01)
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


@pytest.mark.parametrize("kind", ["explicit", "jpeg_lossless_sv1", "jpeg_2000", "deflated"])
def test_several_squares_of_a_file_are_those_that_are_asked_one_by_one(tmp_path, kind):
    path = write_dicom(tmp_path / "image", draw_image(300, 200, seed=0), kind)
    several = [
        SquareOptions(64),
        SquareOptions(400),
        SquareOptions(64, reduced_jpeg_2000=True),
        SquareOptions(50, True),
    ]
    with DecoderPool(1) as decoders:
        found = decoders.decode_several(path, several)
        expected = [decoders.decode(path, options) for options in several]
        path.write_bytes(path.read_bytes()[:5000])
        assert isinstance(decoders.decode_several(path, several), ImageError)
    for one, other in zip(found, expected, strict=True):
        assert (one.pixels == other.pixels).all()
        assert (one.height, one.width, one.header) == (other.height, other.width, other.header)


def test_several_squares_of_a_jpg(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray((draw_image(300, 200, seed=0) >> 4).astype(np.uint8)).save(path, quality=92)
    several = [SquareOptions(40), SquareOptions(300), SquareOptions(500)]
    with DecoderPool(1) as decoders:
        found = decoders.decode_several(path, several)
        for image, options in zip(found, several, strict=True):
            assert (image.pixels == decoders.decode(path, options).pixels).all()


def test_only_the_file_is_lost(mischievous, tmp_path, capfd):
    reasons = {}
    crashes = ("segfault", "SIGFPE", "SIGBUS", "exits")
    for name in ("good", "spins", *crashes, "bloats", "prints", "good"):
        result = mischievous.decode(write_dicom(tmp_path / name, IMAGE), OPTIONS)
        reasons[name] = "" if isinstance(result, DecodedImage) else result.reason
    died = dict.fromkeys(crashes, "decoder_died")
    assert reasons == {"good": "", "spins": "decoder_timeout", **died, "bloats": "too_much_memory", "prints": ""}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SIGKILL", "was ended by SIGKILL"),
        ("bus", "was ended by SIGBUS"),
        ("starved", "too little memory"),
        ("EIO", "Input/output error"),
    ],
)
def test_what_no_file_can_cause_is_no_reject(mischievous, tmp_path, monkeypatch, name, message):
    monkeypatch.setattr(pool, "_is_whole", lambda path: False)  # the file that `bus` cuts is whole again when asked for
    path = write_dicom(tmp_path / name, IMAGE)
    with pytest.raises(MachineError, match=message) as caught:
        mischievous.decode(path, OPTIONS)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("run the same command again; it goes on.")
    path.rename(tmp_path / "good")
    if name != "bus":
        assert isinstance(mischievous.decode(tmp_path / "good", OPTIONS), DecodedImage)


@pytest.mark.parametrize("name", ["SIGKILL", "segfault", "spins", "starved", "leaves", "ESTALE"])
def test_what_a_new_process_does_not_do_again_costs_nothing(mischievous, tmp_path, name):
    (tmp_path / "once").touch()
    assert isinstance(mischievous.decode(write_dicom(tmp_path / name, IMAGE), OPTIONS), DecodedImage)


def test_a_process_whose_memory_a_file_took_is_replaced(mischievous, tmp_path):
    result = mischievous.decode(write_dicom(tmp_path / "leaves", IMAGE), OPTIONS)
    assert result.reason == "unreadable_pixels"
    assert not mischievous.processes()


def test_a_stopped_process_costs_no_image(tmp_path):
    path = write_dicom(tmp_path / "image", draw_image(640, 480, seed=1), "jpeg_2000")
    with DecoderPool(1) as decoders, ThreadPoolExecutor(1) as threads:
        expected = decoders.decode(path, OPTIONS)
        (process,) = decoders.processes()
        os.kill(process, signal.SIGSTOP)
        found = threads.submit(decoders.decode, path, OPTIONS)
        time.sleep(0.3)
        assert not found.done()
        os.kill(process, signal.SIGCONT)
        assert (found.result().pixels == expected.pixels).all()
        assert decoders.processes() == [process]


def test_a_process_that_sleeps_for_ever_is_no_reject(mischievous, tmp_path, monkeypatch):
    good = write_dicom(tmp_path / "good", IMAGE)
    assert isinstance(mischievous.decode(good, OPTIONS), DecodedImage)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "SECONDS_TO_ANSWER", 1.0)
        patch.setattr(pool, "OUTAGES", 1)
        with pytest.raises(MachineError, match="did not answer for 1 s"):
            mischievous.decode(write_dicom(tmp_path / "sleeps", IMAGE), OPTIONS)
    assert isinstance(mischievous.decode(good, OPTIONS), DecodedImage)


def test_time_in_which_a_decoder_waits_does_not_count(monkeypatch, tmp_path):
    lazy = MISCHIEF.replace("time.sleep(3600)", "time.sleep(1)")  # twice its limit of processor time
    monkeypatch.setattr(pool, "WORKER", ("-c", lazy))
    with DecoderPool(1) as decoders:
        assert isinstance(decoders.decode(write_dicom(tmp_path / "sleeps", IMAGE), OPTIONS), DecodedImage)


def test_a_mask_is_what_is_brighter_than_its_threshold(tmp_path):
    values = np.zeros((60, 40), np.uint8)
    values[10:30, 5:25], values[40:50] = 200, 127
    Image.fromarray(values).save(tmp_path / "mask.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "mask.png").read_bytes()[:60])
    with DecoderPool(1) as decoders:
        for threshold in (0, 127, 200):
            mask = decoders.decode_mask(tmp_path / "mask.png", MaskOptions(20, threshold))
            assert mask.dtype == bool
            assert (mask == letterbox_mask(values > threshold, 20)).all()
        assert decoders.decode_mask(tmp_path / "cut.png", MaskOptions(20)).reason == "truncated_image"


def test_the_limits_leave_room_for_every_radiograph():
    """30 million pixels of 16-bit noise as lossless JPEG 2000, the slowest there is, take 9.7 s of processor time."""
    assert limits.CPU_SECONDS_PER_FILE >= 5 * 9.7
    assert limits.SECONDS_TO_ANSWER > 10 * limits.CPU_SECONDS_PER_FILE


def test_many_threads_share_few_processes(tmp_path):
    paths = [write_dicom(tmp_path / str(number), draw_image(40, 30 + number, number)) for number in range(12)]
    with DecoderPool(2) as decoders, ThreadPoolExecutor(6) as threads:
        images = list(threads.map(lambda path: decoders.decode(path, OPTIONS), paths))
    assert [image.width for image in images] == list(range(30, 42))


def test_no_process_outlives_its_pool_or_its_parent(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE)
    code = (
        "import sys, os, signal; from pathlib import Path; from imaging.pool import *; p = DecoderPool(1); "
        "p.decode(Path(sys.argv[1]), SquareOptions(8)); print(*p.processes(), flush=True); "
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
        (process,) = decoders.processes()
    assert not running(process)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_cannot_start_is_no_fault_of_the_images(monkeypatch, tmp_path):
    monkeypatch.setattr(pool, "WORKER", ("-c", "raise SystemExit('no decoder here')"))
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 0.01)
    with DecoderPool(1) as decoders, pytest.raises(MachineError, match=r"imaging\.worker"):
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


def test_a_process_whose_parent_was_killed_ends_without_a_traceback():
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'imaging.worker'], stdout=subprocess.PIPE)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, timeout=60, check=True)
    assert done.stderr == b""
