from __future__ import annotations

import dagster as dg
import pytest

from assets.workspace import CHECKOUT, Workspace


def test_empty_fields_follow_the_environment_when_asked(workspace, monkeypatch, tmp_path):
    anywhere = Workspace()
    assert anywhere.home_path() == CHECKOUT / "var"
    assert anywhere.cohort_name() == "phantom"
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.setenv("RADALIGN_COHORT", "mimic_cxr")
    monkeypatch.setenv("RADALIGN_MIMIC_CXR_ROOT", "/data/mimic")
    assert anywhere.folder("images") == tmp_path / "mimic_cxr" / "images"
    assert str(anywhere.root()) == "/data/mimic"
    assert workspace.home_path() != tmp_path  # a field that is set wins


def test_a_relative_home_counts_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Workspace(home="elsewhere").home_path() == CHECKOUT / "elsewhere"


def test_the_phantom_is_simulated_unless_it_has_a_root(workspace, monkeypatch):
    assert workspace.simulated()
    assert workspace.root() == workspace.folder("archive")
    monkeypatch.setenv("RADALIGN_PHANTOM_ROOT", "/data/phantom")
    assert not workspace.simulated()
    assert str(workspace.root()) == "/data/phantom"


def test_a_real_cohort_without_a_root_says_what_to_set(workspace):
    with pytest.raises(dg.Failure, match="set RADALIGN_MIMIC_CXR_ROOT"):
        Workspace(home=workspace.home, cohort="mimic_cxr").root()


def test_a_root_that_is_not_there_is_one_sentence(workspace, tmp_path):
    absent = Workspace(home=workspace.home, cohort="mimic_cxr", archive_root=str(tmp_path / "absent"))
    with pytest.raises(dg.Failure, match="absent"):
        absent.open_cohort()
    with pytest.raises(dg.Failure, match="no_such_cohort"):
        Workspace(home=workspace.home, cohort="no_such_cohort", archive_root=str(tmp_path)).open_cohort()
