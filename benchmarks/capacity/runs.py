"""Runs `dagster job execute -j ingest` in a home of its own, and measures it from outside.

Processor time and memory of the command and of all processes below it are read from /proc. Dagster's history says when
each step began and ended, so that they can be told per asset.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 0.5  # seconds between two looks
REST = "start and end"  # what lies outside of all steps
DAGSTER = [sys.executable, "-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "ingest"]


@dataclass
class Measured:
    """One run of the job. Sizes are bytes, times seconds of one core."""

    images: int
    wall: float
    cpu: dict[str, float]  # by asset, decoder processes included
    memory: int  # peak of the process that plans, which with the executor in_process does everything
    decoder_memory: int  # peak of one decoder process
    steps: int
    mapped_steps: dict[str, int]  # by asset
    batches: int
    events: int  # rows of Dagster's event log
    event_log: int  # of all databases of the history, as this run left them
    plans: int
    tables: int  # inventory, reports, triplets, labels, studies, rejects and subsets
    images_table: int
    shards: int
    peaks: dict[str, int] = field(default_factory=dict)  # memory by asset

    @property
    def seconds(self) -> float:
        """Processor time of the whole run."""
        return sum(self.cpu.values())

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


@dataclass
class _Sample:
    at: float
    cpu: float
    memory: int
    decoder: int


def run_ingest(archive: Path, home: Path, size: int, images: int, checkout: Path = CHECKOUT) -> Measured:
    """Run the job once on a described archive, with squares of `size` pixels; CalledProcessError where it fails."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "run.yaml"
    config.write_text(yaml.safe_dump({"ops": {"images": {"config": {"size": size}}}}))
    environment = {
        **os.environ,
        "RADALIGN_HOME": str(home),
        "RADALIGN_COHORT": "archive",
        "RADALIGN_ARCHIVE_ROOT": str(archive),
        "DAGSTER_HOME": str(checkout),
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
    }
    before = _events(home)
    started = time.time()
    with (home / "run.log").open("ab") as log:
        process = subprocess.Popen([*DAGSTER, "-c", str(config)], cwd=checkout, env=environment, stdout=log, stderr=log)
        samples = _watch(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, DAGSTER, (home / "run.log").read_text()[-2000:])
    wall = time.time() - started
    cpu, peaks, steps = _by_asset(home, samples)
    cohort = home / "archive"
    return Measured(
        images=images,
        wall=wall,
        cpu=cpu,
        memory=max(sample.memory for sample in samples),
        decoder_memory=max(sample.decoder for sample in samples),
        steps=sum(steps.values()),
        mapped_steps=dict(steps),
        batches=len(list((cohort / "shards").glob("?" * 20 + ".parquet"))),
        events=_events(home) - before,
        event_log=sum(path.stat().st_size for path in (home / "dagster").rglob("*.db*")),
        plans=sum(path.stat().st_size for path in cohort.glob("*/plan*") if path.suffix != ".sha256"),
        tables=sum(
            _size_of(cohort / name)
            for name in ("inventory", "reports", "triplets", "report_labels", "studies", "rejects", "subsets")
        ),
        images_table=_size_of(cohort / "images"),
        shards=_size_of(cohort / "shards"),
        peaks=peaks,
    )


def _watch(process: subprocess.Popen[bytes]) -> list[_Sample]:
    samples = [_Sample(time.time(), 0.0, 0, 0)]
    while process.poll() is None:
        samples.append(_look(process.pid))
        time.sleep(EVERY)
    return samples


def _look(root: int) -> _Sample:
    """Processor time of a process and all below it, ended ones included, and the memory of it and of the largest."""
    cpu, memory, largest = 0.0, 0, 0
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            values = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except (OSError, IndexError):
            continue
        cpu += sum(map(int, values[11:15])) / TICKS  # with its ended children
        resident = int(values[21]) * PAGE
        if pid == root:
            memory = resident
        else:
            largest = max(largest, resident)
    return _Sample(time.time(), cpu, memory, largest)


def _history(home: Path) -> list[Path]:
    return [path for path in (home / "dagster").rglob("*.db") if path.name not in ("index.db", "schedules.db")]


def _events(home: Path) -> int:
    """Rows of the logs of events of all runs."""
    return sum(
        _query(path, "select count(*) from event_logs")[0][0]
        for path in _history(home)
        if _query(path, "select name from sqlite_master where name = 'event_logs'")
    )


def _query(path: Path, sql: str) -> list[Any]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def _by_asset(home: Path, samples: list[_Sample]) -> tuple[dict[str, float], dict[str, int], Counter[str]]:
    """Processor time and peak memory by asset, and the number of its steps, of the run that ended last."""
    newest = max((home / "dagster" / "history" / "runs").glob("*.db"), key=lambda path: path.stat().st_mtime)
    rows = _query(
        newest,
        "select step_key, min(julianday(timestamp)), max(julianday(timestamp)) from event_logs "
        "where step_key is not null and dagster_event_type in ('STEP_START', 'STEP_SUCCESS') group by step_key",
    )
    spans = sorted((_seconds(start), _seconds(end), key.split(".")[0]) for key, start, end in rows)
    cpu: dict[str, float] = {}
    peaks: dict[str, int] = {}
    for earlier, later in pairwise(samples):
        middle = (earlier.at + later.at) / 2
        name = next((name for start, end, name in spans if start <= middle <= end), REST)
        cpu[name] = cpu.get(name, 0.0) + max(0.0, later.cpu - earlier.cpu)
        peaks[name] = max(peaks.get(name, 0), later.memory)
    return cpu, peaks, Counter(key.split(".")[0] for key, _, _ in rows)


def _seconds(day: float) -> float:
    """Seconds since 1970 of a Julian day, to 0.1 ms."""
    return (day - 2440587.5) * 86400


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
