import pytest

from evaluation.tables.measured_rows import MeasuredRows, make_key, sort_key

ROW = {"method": "mgca", "cohort": "toy", "task": "linear_probe", "setting": "1 %", "metric": "auroc", "class": "macro"}
ROW |= {"value": 0.8, "low": 0.7, "high": 0.9, "n": 40, "seed": 0, "repeat": 0, "mlflow_run": "", "note": ""}
ROW |= {"simulated": False, "data_version": "d"}


def keyed(**names):
    return make_key({**ROW, **names})


def test_spellings_of_settings_and_classes_are_one_key():
    assert keyed(setting="1%") == keyed(setting="frozen 1 %") == keyed()
    assert keyed(setting="1 %, tuned") == keyed(setting="fine-tune 1%") != keyed()
    assert keyed(setting="0.1 %") != keyed()
    assert keyed(**{"class": "Pleural_Thickening"}) == keyed(**{"class": "pleural thickening"})


def test_repeats_come_with_those_that_failed_in_the_same_measurement_only():
    failed = {**ROW, "value": None, "repeat": 1, "note": "failed: why."}
    accuracy = {**ROW, "metric": "accuracy"}
    measured = MeasuredRows([ROW, accuracy, failed, {**ROW, "setting": "10 %"}])
    assert measured.find(make_key(ROW)) == [ROW, failed]
    assert measured.find(make_key(accuracy)) == [accuracy, failed]
    assert measured.find(keyed(setting="10 %")) == [{**ROW, "setting": "10 %"}]
    assert measured.find(keyed(method="convirt")) == []
    assert measured.describe(make_key(accuracy)) == ["Measured: failed: why."]
    assert measured.describe(keyed(method="convirt")) == []


def test_a_mean_over_some_classes_is_of_the_seeds_in_which_all_of_them_were_scored():
    rows = [
        {**ROW, "class": name, "value": value, "seed": seed}
        for name, value, seed in [
            *(("Edema", 0.6, 0), ("Pleural Effusion", 0.8, 0), ("Fracture", 0.1, 0), ("macro", 0.5, 0)),
            *(("Edema", 0.7, 1), ("Pleural Effusion", None, 1)),
        ]
    ]
    (mean,) = MeasuredRows(rows).average(keyed(**{"class": "mean of 2"}), ("Edema", "Pleural_Effusion"))
    assert mean["value"] == pytest.approx(0.7)
    assert (mean["class"], mean["low"], mean["high"], mean["n"], mean["seed"]) == ("mean of 2", None, None, 2, 0)
    assert MeasuredRows(rows).average(keyed(**{"class": "mean of 2"}), ("Edema", "Hernia")) == []


def test_methods_are_followed_by_their_untrained_networks_and_fractions_grow():
    wanted = [
        keyed(method="convirt"),
        keyed(method="mgca", setting="1 %"),
        keyed(method="mgca", setting="10 %"),
        keyed(method="mgca", setting="100 %"),
        keyed(method="mgca", setting="1 %, tuned"),
        keyed(method="untrained:mgca"),
        keyed(method="mgca:ITA"),
    ]
    assert sorted(reversed(wanted), key=sort_key) == wanted
