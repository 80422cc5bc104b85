"""A home of its own, and the archive of MIMIC-CXR that the tests of the cohorts write."""

from __future__ import annotations

import pytest

from cohorts.registry import cohort_names
from ingestion.workspace import Workspace
from tests.cohorts.conftest import mimic

__all__ = ["mimic"]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A home of its own, and nothing from the environment."""
    for name in ("RADALIGN_HOME", "RADALIGN_COHORT", *(f"RADALIGN_{name.upper()}_ROOT" for name in cohort_names())):
        monkeypatch.delenv(name, raising=False)
    return Workspace(home=str(tmp_path / "home"))
