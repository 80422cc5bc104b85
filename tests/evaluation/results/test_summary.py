import pytest

from evaluation.results.summary import MeasuredValue, describe_classes, describe_rows, is_simulated, summarise_rows

ROW = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 40, "seed": 0, "repeat": 0, "mlflow_run": "run", "note": ""}
ROW |= {"simulated": False, "cohort": "toy", "data_version": "d", "class": "macro"}
FAILED = {**ROW, "value": None, "low": None, "high": None, "n": 0}


def test_one_measurement_has_its_interval_and_several_a_std():
    assert summarise_rows([ROW]) == MeasuredValue(0.8, 0.7, 0.9, None, 1, 1, 40, ("run",))
    several = summarise_rows([ROW, {**ROW, "value": 0.6, "repeat": 1, "mlflow_run": "other"}])
    assert (several.value, several.std) == (pytest.approx(0.7), pytest.approx(0.02**0.5))
    assert (several.low, several.runs, several.repeated) == (None, ("run", "other"), "2 repeats")
    both = summarise_rows([{**ROW, "seed": seed, "repeat": repeat} for seed in (0, 1) for repeat in (0, 1, 2)])
    assert both.repeated == "2 seeds, 3 repeats"


def test_what_stands_in_the_place_of_a_value():
    notes = ["failed: no memory.", "not available: it has no maps.", "nothing to score: no test split.", ""]
    states = [summarise_rows([{**FAILED, "note": note}]).state for note in notes]
    assert states == ["failed", "not available", "nothing to score", "not scored"]
    assert summarise_rows([{**FAILED, "note": notes[1]}, {**FAILED, "note": notes[0]}]).state == "failed"


def test_a_failure_beside_a_number_is_described():
    found = [ROW, {**FAILED, "note": "failed: no memory."}]
    assert (summarise_rows(found).value, summarise_rows(found).repeats) == (0.8, 1)
    assert describe_rows(found) == ["Measured: failed: no memory."]


def test_simulated_images_are_named_also_in_rows_that_do_not_say_so():
    assert not is_simulated(ROW)
    for row in ({**ROW, "simulated": True}, {**ROW, "cohort": "phantom"}):
        assert summarise_rows([row]).simulated
        assert "simulated images" in describe_rows([row])[0]


def test_classes_with_few_images_or_without_a_score_are_named_beside_their_mean():
    rows = [{**ROW, "class": "a", "n": 9}, {**ROW, "class": "b", "n": 10}, {**FAILED, "class": "c"}]
    assert describe_classes(rows) == [
        "Measured without c: classes that cannot be scored are in no mean.",
        "Measured on fewer than 10 images that have a: too few for a claim.",
    ]
    assert describe_classes(rows[1:2]) == []
    few, enough = ({**ROW, "class": "a", "n": 500, "positives": count} for count in (4, 10))
    assert describe_classes([few]) == ["Measured on fewer than 10 images that have a: too few for a claim."]
    assert describe_classes([enough]) == []
