"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

# Tests start some hundred processes. Where an image forbids to store compiled modules, each would compile torch anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Two processes of tests share two cores, so a second thread in each of them, and in what they start, only waits.
# Before anything imports torch or numpy, which read it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests of real datasets are small too.
os.environ["RADALIGN_PRESET"] = "demo"

import hypothesis
import pytest

sys.dont_write_bytecode = False
# A process that waits for a core is no slow test.
hypothesis.settings.register_profile("radalign", deadline=None)
hypothesis.settings.load_profile("radalign")
# How long the longest files took, in seconds: begun last, one of them keeps one core idle. `make test` gives the files
# in this order; `pytest --store-seconds` beside its options writes the table anew.
SECONDS = Path(__file__).with_name("seconds.json")
LEAST = 5  # seconds of a file that the table names
LONG, USUAL = ("tests/pipelines/", "tests/training/"), 10  # folders whose new files are taken for long, and how long
took: Counter[str] = Counter()
DEFAULT_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and reports: $RADALIGN_SHARED/data, by default beside the checkout."""
    folder = Path(os.environ.get("RADALIGN_SHARED") or DEFAULT_SHARED) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}: set RADALIGN_SHARED to the folder that holds data/")
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-seconds", action="store_true", help=f"write to {SECONDS.name} how long each file took")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the order within a file stays."""
    seconds = json.loads(SECONDS.read_text())
    items.sort(key=lambda item: -expected_seconds(item.nodeid.partition("::")[0], seconds))


def expected_seconds(file: str, seconds: dict[str, float]) -> float:
    return seconds.get(file, USUAL if file.startswith(LONG) else 0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    took[report.nodeid.partition("::")[0]] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Store how long the files took, in the process that hears of all tests."""
    if session.config.getoption("--store-seconds") and not hasattr(session.config, "workerinput"):
        table = {file: round(seconds) for file, seconds in took.most_common() if seconds >= LEAST}
        SECONDS.write_text(json.dumps(table, indent=1) + "\n")
