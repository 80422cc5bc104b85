"""Whose run it is: tags, the first line, and whether the machine suits the preset."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cohorts.views import KINDS
from pipelines.identity import describe_run, introduce, with_partition, workspace_of
from pipelines.preflight import machine
from pipelines.preflight.check import missing_presets, unseen_views
from pipelines.preflight.machine import describe_mismatch, expect_machine, has_gpu
from pipelines.preflight.roots import misspelt_variables
from store.code import ROOT
from store.errors import SettingError
from store.locks import HELD, holding
from training.config import TrainingConfig
from training.errors import TrainingError


def test_tags_say_whose_run_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.delenv("RADALIGN_PRESET")
    place = workspace_of({"resources": {"workspace": {"config": {"cohort": "open_i"}}}})
    assert describe_run(place, {"images", "pretrained__medklip", "evaluated__medklip", "downstream__mgca"}) == {
        "radalign/home": str(tmp_path),
        "radalign/cohort": "open_i",
        "radalign/preset": "paper",
        "radalign/method": "medklip,mgca",
        "dagster/partition": "open_i",
    }
    assert "radalign/method" not in describe_run(place, {"images"})
    assert introduce(place).startswith(f"open_i in {tmp_path}, preset paper: what the paper of each method states")


def test_the_partition_is_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADALIGN_COHORT", "chexpert")
    config = {"ops": {}, "resources": {"workspace": {"config": {"home": "h"}}}}
    placed = with_partition(config, {"dagster/partition": "open_i"})
    assert placed == {"ops": {}, "resources": {"workspace": {"config": {"home": "h", "cohort": "open_i"}}}}
    assert workspace_of(placed).cohort_name() == "open_i"
    assert with_partition(config, {}) == config
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    assert workspace_of(with_partition(config, dict.fromkeys(ends, "mura"))).cohort_name() == "mura"
    with pytest.raises(SettingError, match="not on all from mura to open_i"):
        with_partition(config, dict(zip(ends, ("mura", "open_i"), strict=True)))
    with pytest.raises(SettingError, match=r"The partition is open_i, but .*cohort is chexpert: leave"):
        with_partition(
            {"resources": {"workspace": {"config": {"cohort": "chexpert"}}}}, {"dagster/partition": "open_i"}
        )


def test_a_value_may_be_the_name_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_COHORT", "chexpert")
    place = workspace_of({"resources": {"workspace": {"config": {"cohort": {"env": "MY_COHORT"}}}}})
    assert place.cohort_name() == "chexpert"
    assert workspace_of({}).cohort_name() == "phantom"


def test_a_preset_for_a_gpu_needs_one_unless_somebody_chose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not has_gpu()
    expect_machine("demo", chosen=False)
    expect_machine("paper", chosen=True)
    assert describe_mismatch("paper").startswith("The preset paper is for a GPU, and this machine shows none: set ")
    with pytest.raises(SettingError, match="RADALIGN_PRESET=paper to train on the CPU all the same"):
        expect_machine("paper", chosen=False)


def test_with_a_gpu_every_preset_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_gpu", lambda: True)
    assert describe_mismatch("paper") == ""
    expect_machine("small_gpu", chosen=False)


def test_a_method_without_a_file_in_the_preset_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = {"images", "pretrained__mgca", "pretrained__medklip", "evaluated__convirt"}
    assert list(missing_presets("demo", nodes)) == []
    monkeypatch.setattr("pipelines.preflight.check.has_preset", lambda preset, method: method == "medklip")
    (sentence,) = missing_presets("demo", nodes)
    assert sentence == "The preset demo has no file for mgca (configs/demo/mgca.yaml): its recipe counts."
    assert list(missing_presets("paper", nodes)) == []


def test_views_that_the_inventory_leaves_out_are_said() -> None:
    trainings = {
        "mgca": TrainingConfig("mgca"),
        "chexzero": TrainingConfig("chexzero", views="frontal+lateral+unknown"),
    }
    (sentence,) = unseen_views(trainings, ["frontal", "lateral"])
    assert sentence == (
        "chexzero trains on unknown images, which `inventory.views` leaves out, so on the others alone: `--set "
        "'inventory.views=[frontal,lateral,unknown]'` takes all that the archive has."
    )
    assert not list(unseen_views(trainings, KINDS))
    with pytest.raises(TrainingError, match=r"mgca trains on frontal images, which `inventory\.views` leaves out: `--"):
        list(unseen_views(trainings, ["lateral"]))


def test_variables_that_are_read_are_not_called_misspelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RADALIGN_")]:
        monkeypatch.delenv(name)
    for name in ("RADALIGN_PRESET", "RADALIGN_HOME", "RADALIGN_OPEN_I_ROOT", "RADALIGN_MLFLOW_PORT"):
        monkeypatch.setenv(name, "demo")
    with holding(tmp_path / "lock", "tests"):
        assert list(misspelt_variables()) == []
    assert HELD not in os.environ
    monkeypatch.setenv("RADALIGN_PRESETS", "demo")
    assert [sentence.partition(" ")[0] for sentence in misspelt_variables()] == ["RADALIGN_PRESETS"]


def test_variables_of_the_documentation_are_not_called_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").partition("## Environment")[2]
    names = set(re.findall(r"`(RADALIGN_[A-Z_]+)`", page))
    assert len(names) > 15
    for name in names:
        monkeypatch.setenv(name, "1")
    assert not [sentence for sentence in misspelt_variables() if sentence.partition(" ")[0] in names]
