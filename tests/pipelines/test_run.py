"""The run config of a command's options, and what is shown of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict, replace

import pytest

from assets.settings.evaluation import FRACTIONS_TAG, EvaluationSettings, chosen_evaluation
from pipelines.definitions import defs
from pipelines.preflight import check, machine
from pipelines.preflight.network import earlier_trainings, is_tried
from pipelines.run.config import build_config, merge, read_config, read_setting
from pipelines.run.numbers import MOST, leading_numbers
from pipelines.run.progress import describe_counts
from pipelines.run.screen import Screen
from store.code import ROOT
from store.errors import SettingError
from tests.evaluation.tables.home_of_results import build_home, fill
from training.config import TrainingConfig

PRETRAIN, EVALUATE, INGEST = map(defs.resolve_job_def, ("pretrain_medklip", "evaluate_medklip", "ingest"))


def options(**given):
    return Namespace(**{"config": [], "settings": [], "home": "", "cohort": "", "root": "", "preset": "", **given})


def test_a_mapping_is_laid_over_another_field_by_field():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": {"f": 5}}) == {
        "a": {"b": 1, "c": 4}, "d": 3, "e": {"f": 5},
    }  # fmt: skip


def test_without_a_file_there_is_what_the_options_say():
    assert build_config(options(), PRETRAIN) == {}
    assert build_config(options(settings=["epochs=1"], cohort="open_i", preset="paper"), PRETRAIN) == {
        "resources": {"workspace": {"config": {"cohort": "open_i", "preset": "paper"}}},
        "ops": {"pretrained__medklip": {"config": {"epochs": 1}}},
    }


def test_a_pretraining_sees_a_tenth_of_the_labels_whatever_is_given_beside():
    assert PRETRAIN.tags[FRACTIONS_TAG] == "0.1"
    chosen = chosen_evaluation(EvaluationSettings(repeats=2), "demo", PRETRAIN.tags)
    assert (chosen.amount.fractions, chosen.amount.repeats) == ([0.1], 2)


def test_files_and_options_are_laid_over_each_other_in_their_order(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("ops: {images: {config: {size: 64}}, inventory: {config: {batch_size: 20}}}")
    second.write_text("ops: {images: {config: {size: 96}}}")
    found = build_config(options(config=[str(first), str(second)], settings=["inventory.batch_size=5"]), INGEST)
    assert found == {"ops": {"images": {"config": {"size": 96}}, "inventory": {"config": {"batch_size": 5}}}}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "has more than 20 aliases"),
        ("ops: " + "[" * 5000 + "]" * 5000, "has more than 30 levels"),
        ("#" * 1_000_001, "is larger than any run config"),
    ],
)
def test_a_config_that_unfolds_without_end_is_refused_at_once(text, sentence, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(SettingError, match=sentence):
        read_config(tmp_path / "run.yaml")


def test_a_pipe_is_no_config(tmp_path):
    os.mkfifo(tmp_path / "run.yaml")
    with pytest.raises(SettingError, match="is no regular file"):
        read_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("pair", "job", "config"),
    [
        ("epochs=1", PRETRAIN, {"ops": {"pretrained__medklip": {"config": {"epochs": 1}}}}),
        ("learning_rate=1e-4", PRETRAIN, {"ops": {"pretrained__medklip": {"config": {"learning_rate": 1e-4}}}}),
        (
            "method_config.width=64",
            PRETRAIN,
            {"ops": {"pretrained__medklip": {"config": {"method_config": {"width": 64}}}}},
        ),
        ("images.size=64", PRETRAIN, {"ops": {"images": {"config": {"size": 64}}}}),
        ("repeats=2", EVALUATE, {"resources": {"evaluation": {"config": {"repeats": 2}}}}),
        ("evaluation.fractions=[0.1]", PRETRAIN, {"resources": {"evaluation": {"config": {"fractions": [0.1]}}}}),
        ("ops.images.config.size=64", INGEST, {"ops": {"images": {"config": {"size": 64}}}}),
        ("execution.config.multiprocess={}", INGEST, {"execution": {"config": {"multiprocess": {}}}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_finds_its_place(pair, job, config):
    assert read_setting(pair, job) == config


def test_a_warning_is_printed_once(capfd):
    with Screen() as screen:
        for text in ("one", "two", "one"):
            screen.warn(text)
    assert capfd.readouterr().out == "  warning: one\n  warning: two\n"


@pytest.mark.parametrize(
    ("node", "launcher", "warned"),
    [
        ("pretrained__medklip", {}, True),
        ("pretrained__medklip", {"slurm": {"nodes": 2}}, False),  # this machine does not train
        ("images", {}, False),
    ],
)
def test_a_preset_that_needs_a_gpu_is_warned_of_where_this_machine_trains(
    monkeypatch, tmp_path, node, launcher, warned
):
    monkeypatch.setattr(machine, "has_gpu", lambda: False)
    for name in ("expect_launcher", "expect_network"):
        monkeypatch.setattr(check, name, lambda *_: None)
    config = {"resources": {"workspace": {"config": {"home": str(tmp_path), "preset": "paper"}}}}
    config["ops"] = {node: {"config": {"launcher": launcher}}} if launcher else {}
    sentences = []
    check.check_run({node}, config, {}, sentences.append)
    assert ("The preset paper is for a GPU" in "".join(sentences)) == warned


def test_a_terminal_has_one_bar_per_stage():
    code = """
from pipelines.run.screen import Screen
with Screen() as screen:
    print("a library speaks")
    for done in range(1, 4):
        screen.progress("images", done, 4, f"images b{done}")
    screen.line("images are done")
    screen.progress("triplets", 1, 2, "triplets b1")
"""
    master, slave = os.openpty()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=slave, stderr=slave, check=True)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "75%" in shown
    assert "images b3" in shown
    assert shown.count("images: 0%") + shown.count("images:   0%") == 1
    assert "50%" in shown.partition("images are done")[2]
    assert "a library speaks" not in shown


@pytest.mark.parametrize("pair", ["epochs", "=1", "a..b=1", "epochs=[1"])
def test_a_setting_that_is_none_is_refused(pair):
    with pytest.raises(SettingError, match="--set"):
        read_setting(pair, PRETRAIN)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dagster/row_count": 1200, "rejects": 3, "batches": 4, "computed": 1},
         "1,200 rows, 3 rejects, 1 of 4 batches computed"),
        ({"computed": 8, "found in results": 2}, "8 results computed, 2 there already"),
        ({"trained": True, "steps": 40}, "40 steps"),
        ({"trained": False, "steps": 40}, "trained before"),
        ({"status": "absent", "note": "no archive"}, "absent"),
        ({}, "done"),
    ],
)  # fmt: skip
def test_counts_are_words(values, words):
    assert describe_counts(values) == words


def test_a_network_that_was_built_before_is_not_built_on_trial(tmp_path):
    before = TrainingConfig.from_dict({"method": "medklip", "batch_size": 16}, "the test")
    run = tmp_path / "checkpoints" / "medklip" / "abc"
    before.save(run / "config.json")
    assert list(earlier_trainings(tmp_path, "medklip")) == []  # it ended before its network was there
    (run / "model.json").touch()
    (found,) = earlier_trainings(tmp_path, "medklip")
    assert found == before

    def another(**options):
        return TrainingConfig.from_dict({**asdict(before), **options}, "the test")

    assert is_tried(another(epochs=1.0, seed=4, batch_size=8), before)
    assert is_tried(another(batch_size=32, micro_batches=2), before)
    assert not is_tried(another(batch_size=32), before)
    assert not is_tried(another(method_config={"width": 64}), before)
    (run / "config.json").write_text("{")
    assert list(earlier_trainings(tmp_path, "medklip")) == []


def test_a_run_ends_with_a_headline_for_each_cohort_its_own_first(tmp_path):
    place = build_home(tmp_path, ["medklip", "mgca"])
    for cohort, other in (("phantom", "mimic_cxr"), ("mimic_cxr", "phantom")):
        lines = list(leading_numbers(replace(place, cohort=cohort), "mgca", True))
        assert lines[0].startswith(f"mgca, pretrained on {cohort}")
        assert lines[2].startswith(f"medklip, pretrained on {other}")  # the newest there
        assert "zero-shot AUROC" in lines[1]
        assert lines[5].split() == ["dataset", "task,", "metric", "labels", "trained", "untrained"]
        assert max(map(len, lines)) <= 100


def test_a_run_of_many_results_ends_with_some_of_every_dataset(tmp_path):
    workspace = build_home(tmp_path, ["medklip"])
    datasets = ("chexpert", "rsna_pneumonia", "siim_pneumothorax", "mura", "open_i", "covidx")
    settings = ("1 %", "1 %, tuned", "10 %", "10 %, tuned", "100 %", "100 %, tuned")
    fill(workspace, ["medklip"], [("segmentation", name, setting) for name in datasets for setting in settings])
    lines = list(leading_numbers(workspace, "medklip", True))
    begin = lines.index("") + 3
    table = lines[begin : begin + MOST]
    assert {line.split()[0].rstrip("*") for line in table} >= set(datasets)
    assert lines[begin + MOST].startswith("and ")
    assert max(map(len, lines)) <= 100
    assert len(lines[4:]) + 3 <= 25  # with the lines that say where everything is
