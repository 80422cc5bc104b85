"""The benchmark of damaged files fails where a decoder is at fault."""

from __future__ import annotations

import pytest

from benchmarks import mutations
from benchmarks.damaged_files import specimens
from imaging import pool

# A worker with a fault of its own. Damaged files have a number for their name, whole ones do not.
PLANTED = """
import dataclasses, os, signal, time
import numpy as np
from imaging import decode, worker
from imaging.errors import ImageError
count = 0
def read(path, options):
    global count
    count += 1
    number = int(path.stem) if path.stem.isdigit() else None
    image = lambda change: dataclasses.replace(found := decode.read_square(path, options), pixels=change(found.pixels))
    {fault}
    return decode.read_square(path, options)
worker.read_film = read
worker.main()
"""
FAULTS = {  # what is planted, how many files show it, and what is said of it
    "black": ("return image(np.zeros_like)", 0, "png is one grey"),
    "negative": ("return image(lambda pixels: 255 - pixels)", 0, "png shows something else"),
    "pale": ("return image(lambda pixels: pixels // 2)", 0, r"png is \d+\.\d grey levels off"),
    "refused": ("if path.name.endswith('png'): raise ImageError('no_pixels')", 0, r"png cannot be decoded \(no_pixels"),
    "damaged ones black": ("if number: return image(np.zeros_like)", 60, r"\d+ of \d+ images are one grey"),
    "damaged ones mixed up": ("if number: return image(lambda p: p.T[::-1].copy())", 60, "only .* resemble the whole"),
    "damaged ones refused": ("if number: raise ImageError('no_pixels')", 60, "only 0 of 60 files could be decoded"),
    "half of them kill": ("if number and number % 2: os.kill(os.getpid(), 11)", 8, "decoders died of 4 of 8 files"),
    "short-lived": ("if count % 2 == 0 and number: os.kill(os.getpid(), 11)", 8, r"\d+ decoder processes had to be"),
    "ended from outside": ("if number == 1: os.kill(os.getpid(), 9)", 2, "file 1 is neither image nor reject"),
    "slow": ("if number: time.sleep(0.21)", 9, r"half of the files took over 0\.2 s"),
    "asleep once": ("if number == 3: time.sleep(3.1)", 5, r"file 3 took 3\.\d s"),
    "busy": ("until = time.process_time() + 2.1\n    while number == 3 and time.process_time() < until: pass", 5,
             r"file 3 took \d\.\d s of processor time"),
    "greedy": ("number == 2 and bytearray(250 << 20).count(0)", 4, r"a process took \d+ MiB for file 2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return specimens(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def benchmark(whole, monkeypatch):
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(mutations, "specimens", lambda folder: whole)
    return lambda files: mutations.main(["--files", str(files), "--seed", "7", "--workers", "1"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(benchmark, monkeypatch, fault):
    code, files, message = FAULTS[fault]
    monkeypatch.setattr(pool, "WORKER", ("-c", PLANTED.replace("{fault}", code)))
    monkeypatch.setattr(mutations, "MOST_SECONDS", 3.0)  # so that the test is quick
    with pytest.raises(SystemExit, match=message):
        benchmark(files)


def test_without_a_fault_it_passes(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(pool, "WORKER", ("-c", PLANTED.replace("{fault}", "pass")))
    benchmark(60)
    assert "seed 7, 60 files, 1 processes, 1 started" in capsys.readouterr().out
