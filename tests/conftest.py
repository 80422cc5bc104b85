"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Tests start some hundred processes. Where an image forbids to store compiled modules, each would compile torch anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Two processes of tests share two cores, so a second thread in each of them, and in what they start, only waits.
# Before anything imports torch or numpy, which read it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests of real datasets are small too.
os.environ["RADALIGN_PRESET"] = "demo"

import hypothesis
import pytest

# A process that waits for a core is no slow test.
hypothesis.settings.register_profile("radalign", deadline=None)
hypothesis.settings.load_profile("radalign")
LONG = ("tests/pipelines/", "tests/training/")  # whose files take minutes: begun last, one of them keeps one core idle
DEFAULT_SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and reports: $RADALIGN_SHARED/data, by default beside the checkout."""
    folder = Path(os.environ.get("RADALIGN_SHARED") or DEFAULT_SHARED) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}: set RADALIGN_SHARED to the folder that holds data/")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the order within a file stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
