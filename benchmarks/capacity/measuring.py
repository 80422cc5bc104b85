"""Measures the constants of the predictions by real runs of the job `ingest`, and compares both at another size."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.capacity.archive import IMAGES_PER_STUDY, write_archive
from benchmarks.capacity.prediction import MAPPED, Archive, Constants, Line, predict
from benchmarks.capacity.runs import CHECKOUT, REST, Measured, run_ingest

SIZE = 32  # pixels; of the squares that are written while measuring
SMALLER = 10  # how many times fewer images the other run has
LISTED = (10, 30)  # times as many images are listed: fewer take no more memory than what is read at once
LEAST = 5_000
LISTING = """
from pathlib import Path
import duckdb, pandas
from ingestion.inventory import InventorySettings, update_inventory
from ingestion.workspace import Workspace
def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
before = peak()
update_inventory(Workspace(), InventorySettings(), lambda _: None)
print(1024 * (peak() - before))
"""
DECODE = (sys.executable, "-m", "benchmarks.ingest", "--json")


def measure(images: int, folder: Path | None) -> dict[str, Any]:
    """Constants by runs on `images` and a tenth of them, listings of ten and thirty times as many, and of decoding."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        small, large = (_run(Path(place) / name, count) for name, count in _sizes(images).items())
        listed = [_list(Path(place) / f"listing-{times}", times * images) for times in LISTED]
    decode = json.loads(subprocess.run(DECODE, cwd=CHECKOUT, stdout=subprocess.PIPE, check=False, text=True).stdout)
    return {
        "command": f"python -m benchmarks.capacity --measure {images}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "size": SIZE,
        "images_per_study": IMAGES_PER_STUDY,
        "planner": small[0].memory,
        "before_listing": small[0].peaks["archive"],
        "worker": small[0].memory,
        "decoder": max(run.decoder_memory for run in (*small, *large)),
        "lines": {name: vars(line) for name, line in _lines(small, large, listed).items()},
        "decode_ms": {row["source"]: round(row["ours_ms"], 1) for row in decode["rows"]},
    }


def check(
    images: int, constants: Constants, folder: Path | None
) -> tuple[list[tuple[str, float, float]], dict[str, int]]:
    """(name, predicted, measured) of an archive of tiny images that is ingested twice, and peak memory by asset."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        first, second = _run(Path(place), images)
    peaks = {name: max(peak, second.peaks.get(name, 0)) for name, peak in first.peaks.items()}
    return compare(images, constants, first, second), peaks


def compare(images: int, constants: Constants, first: Measured, second: Measured) -> list[tuple[str, float, float]]:
    """(name, predicted, measured) of the first and the second run on an archive of tiny images."""
    expected = predict(Archive(images, SIZE, IMAGES_PER_STUDY, 0.0, 0.0), constants)
    steps = max(first.mapped_steps[name] - 2 for name in MAPPED)  # beside planning and collecting
    found = {
        "batches": first.batches,
        "mapped steps of a stage": steps,
        "plans, bytes": first.plans,
        "tables, bytes": first.tables,
        "shards, bytes": first.shards,
        "event log, rows": first.events,
        "event log, bytes": first.event_log,
        "memory of the planner, bytes": first.memory,
        **{f"cpu {name}, s": value for name, value in first.cpu.items()},
        "cpu, s": first.seconds,
        "second run, s": second.seconds,
    }
    return [(name, expected[name], value) for name, value in found.items() if name in expected]


def describe_machine() -> str:
    """Processor, cores and Python."""
    cpus = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in cpus.splitlines() if line.startswith("model name")), "")
    return f"{os.cpu_count()} cores of {model or platform.machine()}, shared, Python {platform.python_version()}"


def _sizes(images: int) -> Mapping[str, int]:
    return {"small": images // SMALLER, "large": images}


def _run(place: Path, images: int) -> tuple[Measured, Measured]:
    """The first run on an archive of tiny images, and one that finds nothing new."""
    write_archive(place / "archive", images)
    first = run_ingest(place / "archive", place / "home", SIZE, images)
    return first, run_ingest(place / "archive", place / "home", SIZE, images)


def _list(place: Path, images: int) -> tuple[float, float]:
    """Images, and the memory by which the inventory of so many grows a process, in bytes."""
    write_archive(place / "archive", images)
    environment = {
        **os.environ,
        "RADALIGN_HOME": str(place / "home"),
        "RADALIGN_COHORT": "archive",
        "RADALIGN_ARCHIVE_ROOT": str(place / "archive"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LISTING], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(images), float(done.stdout.split()[-1])


def _lines(
    small: tuple[Measured, Measured], large: tuple[Measured, Measured], listed: list[tuple[float, float]]
) -> dict[str, Line]:
    def line(unit: Any, value: Any, run: int = 0) -> Line:
        return Line.through(*((float(unit(each[run])), float(value(each[run]))) for each in (small, large)))

    def images(run: Measured) -> int:
        return run.images

    def steps(run: Measured) -> int:
        return sum(run.mapped_steps[name] - 2 for name in MAPPED)

    stages = {*small[0].cpu, *large[0].cpu} - {REST}
    return {
        "plans": line(lambda run: run.batches, lambda run: run.plans),
        "tables": line(images, lambda run: run.tables),
        "shards": line(images, lambda run: run.shards),
        "events": line(steps, lambda run: run.events),
        "event_log": line(steps, lambda run: run.event_log),
        "second_run": line(images, lambda run: run.seconds, 1),
        "listing_memory": Line.through(*listed),
        f"cpu {REST}": line(images, lambda run: run.cpu[REST]),
        **{f"cpu {name}": line(images, lambda run, name=name: run.cpu.get(name, 0.0)) for name in sorted(stages)},
    }
