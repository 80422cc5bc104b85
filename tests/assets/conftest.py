from __future__ import annotations

import pytest

from assets.workspace import WorkspaceResource
from tests.evaluation import seer as tiny


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A home of its own, and nothing from the environment."""
    for name in ("RADALIGN_HOME", "RADALIGN_COHORT", "RADALIGN_PHANTOM_ROOT", "RADALIGN_MIMIC_CXR_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return WorkspaceResource(home=str(tmp_path / "home"))


@pytest.fixture
def cohort(workspace):
    """A tiny one."""
    tiny.build(workspace.plain())
    return workspace


@pytest.fixture
def seer(monkeypatch):
    """The network of every run."""
    method = tiny.Seer()
    monkeypatch.setattr("models.saved.load_method", lambda output, weights: method)
    return method
