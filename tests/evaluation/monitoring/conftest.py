"""The tiny cohort, of which more images come in some night."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evaluation.monitoring.settings import MonitoringSettings
from evaluation.monitoring.watch import watch
from ingestion.versions import at_version, take_version
from store.digests import fingerprint
from tests.evaluation import seer as tiny

FIRST, ADDED = 160, 20
QUICK = MonitoringSettings(resamples=1999)


class Hospital:
    """An archive that grows, and the network that was trained on its beginning."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.rows = []
        self.add(FIRST)
        self.run = replace(tiny.write_run(workspace), version=take_version(workspace))

    def add(self, count, change=lambda row: row):
        """Let images come, changed."""
        self.rows += [change(tiny.image(len(self.rows) + place)) for place in range(count)]
        tiny.write_tables(self.workspace, self.rows, fingerprint([row["pixels"].hex() for row in self.rows]))

    def watch(self, settings=QUICK, lines=None):
        """What a night makes of the tables as they are."""
        present = at_version(self.workspace, take_version(self.workspace))
        log = (lambda line: None) if lines is None else lines.append
        return watch(present, self.run, settings, log, day="2026-01-01")


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Pictures are drawn where a test asks for the fixture `pictures` alone: a panel per quantity takes its time."""
    if "pictures" not in request.fixturenames:
        for name in ("draw_overview", "draw_quantities"):
            monkeypatch.setattr(f"evaluation.monitoring.pictures.{name}", lambda nights, rows: b"\x89PNG")


@pytest.fixture
def pictures():
    """Real ones."""


@pytest.fixture
def hospital(workspace, seer):
    """After the training."""
    return Hospital(workspace)
