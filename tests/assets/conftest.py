from __future__ import annotations

import pytest

from assets.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A home of its own, and nothing from the environment."""
    for name in ("RADALIGN_HOME", "RADALIGN_COHORT", "RADALIGN_PHANTOM_ROOT", "RADALIGN_MIMIC_CXR_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return Workspace(home=str(tmp_path / "home"))
