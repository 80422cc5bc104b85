"""`python -m benchmarks.mutations --files 10000 --seed 0`: damaged files of every kind through the bounded decoders.

The whole files come first: each has to show what it shows to others. Then each file is one of them that was changed at
a few places. It is decoded as ingestion does it. The run fails when a file ends as neither image nor reject, when too
few decode or too many are one grey, when decoders die, or when a file takes more time or memory than the bounds below.
These are far below the limits that the kernel sets. The file number N of a seed S is always the same: `--only N`
decodes it alone.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter

import numpy as np
from tqdm import tqdm

from benchmarks.damaged_files import Specimen, mutate, specimens
from imaging.decode import DecodedImage, SquareOptions
from imaging.errors import ImageError, MachineError
from imaging.pool import DecoderPool, usable_cores

SIZE = 32
# Bounds, with what was measured for 1,200 files of seed 3. Shares are of the files, or of those that decode.
MOST_PROCESSOR_SECONDS = 2.0  # for one file; 0.06
MOST_MEDIAN_SECONDS = 0.2  # by the clock; 0.01
MOST_SECONDS = 30.0  # for one file, by the clock, on a machine that does other things too; 0.2
MOST_BYTES = 256 << 20  # of a process; 105 MiB
MOST_DEATHS = 0.005  # crashes, time-outs, and processes started beyond one per worker; none
LEAST_DECODED = 0.1  # 0.26
MOST_OF_ONE_GREY = 0.1  # 0.02
LEAST_ALIKE = 0.5  # images that resemble the whole file; 0.82
ALIKE = 8.0  # grey levels, mean difference
FEW = 3  # so many more are allowed beyond a share, because small numbers vary
DEATHS = ("decoder_died", "decoder_timeout")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Trial:
    """What became of a file, how long that took, and what its process needed for it."""

    result: DecodedImage | ImageError | MachineError
    seconds: float
    processor_seconds: float = 0.0
    peak_bytes: int = 0  # of the process up to now


@dataclass
class Outcome:
    """What became of all files."""

    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    longest: tuple[float, int] = (0.0, -1)  # by the clock
    slowest: tuple[float, int] = (0.0, -1)  # processor time
    largest: tuple[int, int] = (0, -1)
    alike: int = 0
    of_one_grey: int = 0
    starts: int = 0


def run(files: int, seed: int, workers: int, on_file: Callable[[], object] = lambda: None) -> Outcome:
    """Decode the whole files, and the files 0 to `files` of a seed."""
    outcome = Outcome()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pools: SimpleQueue[DecoderPool] = SimpleQueue()  # of one process each, whose memory and time is known
        every = [stack.enter_context(DecoderPool(1)) for _ in range(workers)]
        for pool in every:
            pools.put(pool)
        threads = stack.enter_context(ThreadPoolExecutor(workers))
        whole = specimens(folder)
        contents = [specimen.content for specimen in whole]
        originals = list(threads.map(lambda one: _try(pools, folder / f"whole {one.name}", one.content), whole))
        outcome.failures += _compare(whole, originals)
        if outcome.failures:
            return outcome
        damaged = threads.map(
            lambda number: _try(pools, folder / f"{number}.dcm", mutate(contents, seed, number)), range(files)
        )
        for number, trial in enumerate(damaged):
            _note(outcome, number, trial, originals[number % len(whole)])
            on_file()
        outcome.starts = sum(pool.starts for pool in every)
    _judge(outcome, files, workers)
    return outcome


def main(arguments: list[str] | None = None) -> None:
    """Print what became of the files; exit with an error where a bound was broken."""
    options = _parse(arguments)
    if options.only is not None:
        return _decode_one(options.seed, options.only)
    with tqdm(total=options.files, unit="file", disable=None) as bar:
        outcome = run(options.files, options.seed, options.workers, bar.update)
    print(f"seed {options.seed}, {options.files} files, {options.workers} processes, {outcome.starts} started")
    for reason, count in outcome.reasons.most_common():
        print(f"{count:7d} {reason}")
    print(f"of those decoded: {outcome.alike} resemble the whole file, {outcome.of_one_grey} are one grey")
    if outcome.seconds:
        print(f"seconds per file: median {np.median(outcome.seconds):.3f}")
    print(f"most seconds: {outcome.longest[0]:.2f}, file {outcome.longest[1]}")
    print(f"most processor time: {outcome.slowest[0]:.2f} s, file {outcome.slowest[1]}")
    print(f"most memory of a process: {outcome.largest[0] >> 20} MiB, file {outcome.largest[1]}")
    if outcome.failures:
        sys.exit("\n".join(outcome.failures))


def _try(pools: SimpleQueue[DecoderPool], path: Path, content: bytes) -> Trial:
    path.write_bytes(content)
    pool = pools.get()
    try:
        before = pool.processes()
        used = _processor_seconds(before)
        start = perf_counter()
        try:
            result: DecodedImage | ImageError | MachineError = pool.decode(path, SquareOptions(SIZE))
        except MachineError as error:
            result = error
        seconds = perf_counter() - start
        if not before or pool.processes() != before:  # another process, whose start would be counted
            return Trial(result, seconds)
        return Trial(result, seconds, _processor_seconds(before) - used, _peak_bytes(before))
    finally:
        pools.put(pool)
        path.unlink()


def _processor_seconds(processes: Sequence[int]) -> float:
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS  # user and system


def _peak_bytes(processes: Sequence[int]) -> int:
    lines = [line for process in processes for line in Path(f"/proc/{process}/status").read_text().splitlines()]
    return max(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _compare(whole: Sequence[Specimen], trials: Sequence[Trial]) -> list[str]:
    """What is wrong with the images of the whole files."""
    faults = []
    for specimen, trial in zip(whole, trials, strict=True):
        if isinstance(trial.result, DecodedImage):
            faults.append(specimen.find_fault(trial.result.pixels))
        else:
            faults.append(f"{specimen.name} cannot be decoded ({trial.result})")
    return [fault for fault in faults if fault]


def _note(outcome: Outcome, number: int, trial: Trial, original: Trial) -> None:
    outcome.seconds.append(trial.seconds)
    outcome.longest = max(outcome.longest, (trial.seconds, number))
    outcome.slowest = max(outcome.slowest, (trial.processor_seconds, number))
    if trial.peak_bytes > outcome.largest[0]:
        outcome.largest = (trial.peak_bytes, number)
    result = trial.result
    if isinstance(result, MachineError):
        outcome.failures.append(f"file {number} is neither image nor reject: {result}")
        return
    if isinstance(result, ImageError):
        outcome.reasons[result.reason] += 1
        return
    outcome.reasons["decoded"] += 1
    if result.pixels.shape != (SIZE, SIZE) or result.pixels.dtype != np.uint8:
        outcome.failures.append(f"file {number} came out as {result.pixels.dtype} {result.pixels.shape}")
        return
    outcome.of_one_grey += bool(result.pixels.min() == result.pixels.max())
    assert isinstance(original.result, DecodedImage)
    difference = np.abs(result.pixels.astype(int) - original.result.pixels)
    outcome.alike += bool(difference.mean() <= ALIKE)


def _judge(outcome: Outcome, files: int, workers: int) -> None:
    """Compare what was measured with the bounds."""
    decoded = outcome.reasons["decoded"]
    deaths = sum(outcome.reasons[reason] for reason in DEATHS)
    restarts = outcome.starts - workers
    broken = {
        f"{files - outcome.reasons.total()} files are neither images nor rejects": outcome.reasons.total() != files,
        f"only {decoded} of {files} files could be decoded": decoded + FEW < LEAST_DECODED * files,
        f"{outcome.of_one_grey} of {decoded} images are one grey": outcome.of_one_grey
        > MOST_OF_ONE_GREY * decoded + FEW,
        f"only {outcome.alike} of {decoded} images resemble the whole file": outcome.alike + FEW
        < LEAST_ALIKE * decoded,
        f"decoders died of {deaths} of {files} files": deaths > MOST_DEATHS * files + FEW,
        f"{restarts} decoder processes had to be replaced": restarts > MOST_DEATHS * files + FEW,
        f"half of the files took over {MOST_MEDIAN_SECONDS} s": bool(
            outcome.seconds and np.median(outcome.seconds) > MOST_MEDIAN_SECONDS
        ),
        f"file {outcome.longest[1]} took {outcome.longest[0]:.1f} s": outcome.longest[0] > MOST_SECONDS,
        f"file {outcome.slowest[1]} took {outcome.slowest[0]:.1f} s of processor time": outcome.slowest[0]
        > MOST_PROCESSOR_SECONDS,
        f"a process took {outcome.largest[0] >> 20} MiB for file {outcome.largest[1]}": outcome.largest[0] > MOST_BYTES,
    }
    outcome.failures += [sentence for sentence, is_broken in broken.items() if is_broken]


def _decode_one(seed: int, number: int) -> None:
    with tempfile.TemporaryDirectory() as name, DecoderPool(1) as pool:
        path = Path(name) / "image.dcm"
        path.write_bytes(mutate([specimen.content for specimen in specimens(Path(name))], seed, number))
        result = pool.decode(path, SquareOptions(SIZE))
        print(result if isinstance(result, ImageError) else result.header)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--only", type=int, metavar="N", help="decode file N alone and say what became of it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
