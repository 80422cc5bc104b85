"""What is known of the trainings of a home, by the cohort, and the headlines that follow from it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from evaluation.results.headlines import list_trainings, make_headline
from evaluation.results.latest import latest_by_pretraining
from evaluation.results.side_by_side import compare_methods
from evaluation.results.text_tables import WIDTH
from evaluation.results.trainings import find_archive, find_pretrainings, format_seconds
from ingestion.workspace import Workspace
from models.run_files import RESULT
from tests.evaluation.tables.home_of_results import METHODS, build_home, fill


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return build_home(tmp_path_factory.mktemp("home"))


def test_cohorts_and_trainings_are_newest_first(place):
    found = find_pretrainings(place)
    assert [(one.cohort, one.title) for one in found] == [
        ("mimic_cxr", "mimic_cxr"),
        ("phantom", "phantom (simulated)"),
    ]
    assert [training.name for training in found[0].trainings] == METHODS
    finished = [training.finished for training in found[0].trainings]
    assert finished == sorted(finished, reverse=True)


def test_a_training_says_what_it_was_trained_with(place):
    first, second, *_ = find_pretrainings(place)[0].trainings
    assert (first.preset, first.changed, first.preset_text) == ("demo", ("epochs = 1",), "preset demo, 1 changed")
    assert (second.preset, second.changed, second.duration) == ("demo", (), "2 min 5 s")
    trained = "was trained with preset demo"
    assert (first.departure, second.departure) == (f"{trained}, 1 changed", trained)
    assert replace(second, preset="paper").departure == replace(second, preset="").departure == ""
    assert replace(first, preset="paper").departure == "was trained with preset paper, 1 changed"
    imported = replace(first, preset="", changed=(), imported="weights.pth")
    assert imported.departure == "holds the released weights weights.pth and was not trained here"


def test_archives_are_known_wherever_they_lie(place):
    where = [find_archive(one.workspace) for one in find_pretrainings(place)]
    assert where == [str(place.home_path().parent / "archive <of> mimic"), str(place.folder("archive"))]
    assert find_archive(Workspace(place.home, "chexpert")) == str(place.home_path().parent)
    assert find_archive(Workspace(place.home, "mura")) == ""


def test_what_a_folder_does_not_say_is_left_out(tmp_path):
    workspace = Workspace(home=str(tmp_path))
    fill(workspace, ["mgca"], [("linear_probe", "", "100 %")])
    (_, (one, rows)) = latest_by_pretraining(workspace)
    (training,) = one.trainings
    assert (training.duration, training.preset, training.date) == ("", "", "")
    assert make_headline(one, training, rows.to_pylist()).lines()[0] == "mgca, pretrained on phantom (simulated)"


def test_a_damaged_result_of_a_run_tells_nothing(tmp_path):
    place = build_home(tmp_path, ["mgca"])
    path = place.home_path() / "checkpoints" / "mimic_cxr-mgca" / RESULT
    times = path.stat()
    path.write_text(json.dumps({"seconds": 1.0}))
    os.utime(path, (times.st_atime + 1, times.st_mtime + 1))
    seconds = {one.cohort: one.trainings[0].seconds for one in find_pretrainings(place)}
    assert seconds == {"phantom": 125.0, "mimic_cxr": None}


def test_a_headline_has_both_networks_with_intervals(place):
    one, rows = latest_by_pretraining(place)[1]
    training = next(each for each in one.trainings if each.run.method == "medklip")
    about, numbers = make_headline(one, training, rows.to_pylist()).lines()
    assert about.startswith("medklip, pretrained on phantom (simulated) in 2 min 5 s, 20")
    assert about.endswith(", preset demo")
    assert numbers == "  zero-shot AUROC 0.880 [0.875, 0.885], untrained 0.500 [0.495, 0.506]"


def test_another_number_or_none_is_named(tmp_path):
    workspace = Workspace(home=str(tmp_path))
    fill(workspace, ["mgca"], [("linear_probe", "", setting) for setting in ("1 %", "100 %")])
    one, rows = latest_by_pretraining(workspace)[0]
    headline = make_headline(one, one.trainings[0], rows.to_pylist())
    assert headline.numbers.startswith("linear probe AUROC, 100 % of the labels 0.600 [")
    assert "(probe)" in list_trainings(one, rows.to_pylist())
    assert "radalign evaluate mgca" in make_headline(one, one.trainings[0], []).numbers
    unscored = [{**row, "value": None} for row in rows.to_pylist()]
    assert make_headline(one, one.trainings[0], unscored).numbers.endswith("of the labels not scored")


def test_a_number_by_study_stands_where_there_is_none_by_image(tmp_path):
    workspace = Workspace(home=str(tmp_path))
    fill(workspace, ["mgca"], [("zero_shot_classification", "", "zero-shot, by study")])
    one, rows = latest_by_pretraining(workspace)[0]
    assert make_headline(one, one.trainings[0], rows.to_pylist()).numbers.startswith("zero-shot AUROC, by study 0.6")
    text = list_trainings(one, rows.to_pylist())
    assert "(by study): one score per study" in text
    assert "(probe)" not in text


def test_six_methods_stand_side_by_side_in_a_terminal(place):
    for one, rows in latest_by_pretraining(place):
        trainings, text = list_trainings(one, rows.to_pylist()), compare_methods(rows.to_pylist(), "x")
        assert max(map(len, [*trainings.splitlines(), *text.splitlines()])) <= WIDTH
        assert [line.split()[0] for line in trainings.splitlines()[2:8]] == METHODS
        head, _, chexpert, raw = text.splitlines()[1:5]
        assert head.split() == ["dataset", "labels", *METHODS]
        assert len(chexpert.split()) - chexpert.startswith("chexpert (") == 8
        assert raw.split() == ["untrained", *["0.500"] * 6]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min"), (125, "2 min 5 s"), (11_400, "3 h 10 min"), (187_200, "2 d 4 h")],
)
def test_a_time_has_its_two_largest_units(seconds, text):
    assert format_seconds(seconds) == text
