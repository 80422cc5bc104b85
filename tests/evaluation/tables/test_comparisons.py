import numpy as np
import pyarrow as pa
import pytest

from evaluation.metrics.statistics import compare_areas, holm, paired_bootstrap
from evaluation.metrics.values import MACRO, ResultValue, summarise
from evaluation.results.resamples import KEY, read_resamples, write_resamples
from evaluation.results.schema import RESULTS
from evaluation.tables.comparisons import base_method, compare_methods, compare_scores

rng = np.random.default_rng(0)
DRAWS = rng.normal(size=200)
PLACE = {"cohort": "toy", "task": "linear_probe", "setting": "1 %", "seed": 0, "repeat": 0, "data_version": "d"}
OTHERS = {"mlflow_run": "", "source": "measured", "protocol": "", "note": "", "simulated": True, "n": 2}


def measured(folder, method, value, **more):
    """A row of results whose resamples are in the folder."""
    common = {**PLACE, "method": method, "checkpoint": f"digest of {method}", **more}
    number = ResultValue("auroc", MACRO, value, 0.1, 0.9, 2, value + 0.1 * DRAWS)
    name = f"{method}-{common['cohort']}-{common['seed']}-{common['repeat']}.parquet".replace(":", "-")
    write_resamples(folder / name, common, [number, ResultValue("f1", MACRO, 0.1, 0.1, 0.1, 2, DRAWS)])
    return {**OTHERS, **common, "metric": "auroc", "class": MACRO, "value": value, "low": 0.1, "high": 0.9}


def test_resamples_come_back_as_they_were(tmp_path):
    points, resampled = np.array([0.5, np.nan]), rng.random((20, 2))
    resampled[3, 0] = np.nan
    values = summarise("auroc", ["a", "b"], points, resampled, np.array([4, 4]))
    common = {**PLACE, "method": "m", "checkpoint": "c"}
    write_resamples(tmp_path / "one.parquet", common, values)
    (kept,) = read_resamples(tmp_path, ["auroc"], "a").items()
    assert dict(zip(KEY, kept[0], strict=True)) == {**common, "metric": "auroc", "class": "a"}
    np.testing.assert_array_equal(kept[1].astype(np.float32), resampled[:, 0].astype(np.float32))
    (mean,) = read_resamples(tmp_path, ["auroc"], MACRO).values()
    assert np.isnan(mean[3])
    assert read_resamples(tmp_path, ["auroc"], "b") == {}
    assert read_resamples(tmp_path / "elsewhere", ["auroc"], "a") == {}


def test_methods_are_compared_in_pairs_and_with_their_untrained_selves(tmp_path):
    rows = [
        measured(tmp_path, "mgca", 0.9),
        measured(tmp_path, "convirt", 0.8),
        measured(tmp_path, "untrained:mgca", 0.5),
        measured(tmp_path, "convirt", 0.7, cohort="other"),
        {**OTHERS, **PLACE, "method": "lrclr", "checkpoint": "none", "metric": "auroc", "class": MACRO, "value": 0.6},
    ]
    pairs = compare_methods(pa.Table.from_pylist(rows, RESULTS), tmp_path, print)
    assert [(pair.first, pair.second) for pair in pairs] == [("convirt", "mgca"), ("mgca", "untrained:mgca")]
    kept = 0.8 + 0.1 * DRAWS, 0.9 + 0.1 * DRAWS
    expected = paired_bootstrap(0.8, 0.9, *(np.float32(values) for values in kept))
    assert pairs[0].comparison == pytest.approx(expected)
    np.testing.assert_allclose([pair.adjusted_p for pair in pairs], holm([pair.comparison.p for pair in pairs]))
    assert {(pair.cohort, pair.repeat, pair.simulated) for pair in pairs} == {("toy", 0, True)}


def test_other_data_seeds_or_repeats_are_no_pair(tmp_path):
    first = measured(tmp_path, "mgca", 0.9)
    for other in ({"seed": 1}, {"repeat": 1}, {"data_version": "another"}):
        rows = [first, measured(tmp_path, "convirt", 0.8, **other)]
        assert compare_methods(pa.Table.from_pylist(rows, RESULTS), tmp_path, print) == []


def test_variants_are_compared_with_their_own_method_only(tmp_path):
    names = ("mgca", "mgca:ITA", "mgca:ITA+CTA", "convirt", "untrained:mgca:ITA", "untrained:mgca")
    rows = [measured(tmp_path, name, 0.5 + 0.01 * place) for place, name in enumerate(names)]
    pairs = compare_methods(pa.Table.from_pylist(rows, RESULTS), tmp_path, print)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("convirt", "mgca"),
        ("mgca", "mgca:ITA"),
        ("mgca", "mgca:ITA+CTA"),
        ("mgca:ITA", "mgca:ITA+CTA"),
        ("mgca", "untrained:mgca"),
        ("mgca:ITA", "untrained:mgca:ITA"),
    ]
    assert {base_method(name) for name in names} == {"mgca", "convirt"}


def test_classes_are_compared_by_delong_where_scores_are_at_hand():
    labels = rng.integers(0, 2, (60, 2)).astype(float)
    labels[:, 1] = 1
    scores = {
        name: labels + noise * rng.normal(size=(60, 2)) for name, noise in (("b", 1), ("a", 2), ("untrained:a", 9))
    }
    subjects = np.arange(60)
    place = {"cohort": "toy", "task": "zero_shot_classification", "setting": "zero-shot", "seed": 0, "repeat": 0}
    pairs = compare_scores(place, labels, scores, ["Edema", "Always"], subjects)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "untrained:a")]
    assert {(pair.class_name, pair.test, pair.metric, pair.cohort) for pair in pairs} == {
        ("Edema", "DeLong", "auroc", "toy")
    }
    expected = compare_areas(labels[:, 0], scores["a"][:, 0], scores["b"][:, 0], subjects)
    assert pairs[0].comparison == pytest.approx(expected)
    assert pairs[0].adjusted_p >= pairs[0].comparison.p
