from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.registry import cohort_names
from ingestion.inventory import InventorySettings, listed_root, update_inventory
from ingestion.workspace import Workspace
from store.code import ROOT


def test_empty_fields_follow_the_environment_when_asked(workspace, monkeypatch, tmp_path):
    anywhere = Workspace()
    assert anywhere.home_path() == ROOT / "var"
    assert anywhere.cohort_name() == "phantom"
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.setenv("RADALIGN_COHORT", "mimic_cxr")
    monkeypatch.setenv("RADALIGN_MIMIC_CXR_ROOT", "/data/mimic")
    assert anywhere.folder("images") == tmp_path / "mimic_cxr" / "images"
    assert str(anywhere.root()) == "/data/mimic"
    assert workspace.home_path() != tmp_path  # a field that is set wins


def test_a_relative_home_counts_from_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Workspace(home="elsewhere").home_path() == ROOT / "elsewhere"


def test_the_phantom_is_simulated_unless_it_has_a_root(workspace, monkeypatch):
    assert workspace.simulated()
    assert workspace.root() == workspace.folder("archive")
    monkeypatch.setenv("RADALIGN_PHANTOM_ROOT", "/data/phantom")
    assert not workspace.simulated()
    assert str(workspace.root()) == "/data/phantom"


def test_a_real_cohort_without_a_root_says_what_to_set(workspace):
    with pytest.raises(CohortError, match="set RADALIGN_MIMIC_CXR_ROOT"):
        Workspace(home=workspace.home, cohort="mimic_cxr").root()


def test_a_root_that_is_not_there_is_one_sentence(workspace, tmp_path):
    absent = Workspace(home=workspace.home, cohort="mimic_cxr", archive_root=str(tmp_path / "absent"))
    with pytest.raises(CohortError, match="absent"):
        absent.open_cohort()
    with pytest.raises(CohortError, match="no_such_cohort"):
        Workspace(home=workspace.home, cohort="no_such_cohort", archive_root=str(tmp_path)).open_cohort()


def test_every_registered_cohort_needs_only_its_root(workspace, monkeypatch, tmp_path):
    for name in cohort_names():
        monkeypatch.setenv("RADALIGN_COHORT", name)
        monkeypatch.setenv(f"RADALIGN_{name.upper()}_ROOT", str(tmp_path))
        assert Workspace().root() == tmp_path
        assert Workspace().open_cohort().name == name


def test_the_guide_names_every_cohort_and_its_splits(workspace, tmp_path):
    lines = Path(ROOT / "docs" / "ingestion.md").read_text().splitlines()
    for name in cohort_names():
        line = next(line for line in lines if line.startswith("|") and f"`{name}`" in line)  # the table of datasets
        reader = Workspace(home=workspace.home, cohort=name, archive_root=str(tmp_path)).open_cohort()
        assert ", ".join(reader.splits) in line
        assert ("| none |" in line) != reader.has_reports


def test_an_unknown_split_is_one_sentence_with_the_choices(workspace, tmp_path):
    cohort = Workspace(home=workspace.home, cohort="covid_chestxray", archive_root=str(tmp_path))
    assert cohort.open_cohort().split == cohort.open_cohort("70/10/20").split == "70/10/20"
    with pytest.raises(CohortError, match=r"'50/50'.*70/10/20"):
        cohort.open_cohort("50/50")


def test_a_simulation_is_known_as_one_while_its_archive_is_away(workspace, tmp_path):
    """Else its numbers would count as those of patients."""
    root = tmp_path / "archive"
    layout_writer("mura")(root, simulate_studies(PhantomConfig(height=64), 8))
    there = Workspace(home=workspace.home, cohort="mura", archive_root=str(root))
    assert there.shows_simulation()
    update_inventory(there, InventorySettings(), print)
    root.rename(tmp_path / "away")
    root.mkdir()
    assert there.shows_simulation()


def test_it_stays_known_which_archive_was_listed(workspace, tmp_path):
    root = tmp_path / "archive"
    layout_writer("mura")(root, simulate_studies(PhantomConfig(height=64), 8))
    here = Workspace(home=workspace.home, cohort="mura")
    assert listed_root(here) == ""
    update_inventory(replace(here, archive_root=str(root)), InventorySettings(), print)
    assert listed_root(here) == str(root)


def test_an_archive_in_the_home_moves_with_it(workspace, tmp_path):
    root = workspace.home_path() / "mura" / "archive"
    layout_writer("mura")(root, simulate_studies(PhantomConfig(height=64), 8))
    there = Workspace(home=workspace.home, cohort="mura", archive_root=str(root))
    update_inventory(there, InventorySettings(), print)
    workspace.home_path().rename(tmp_path / "moved")
    assert listed_root(replace(there, home=str(tmp_path / "moved"))) == str(tmp_path / "moved" / "mura" / "archive")
