import os
from pathlib import Path

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import patient_weights
from evaluation.metrics.map_overlap import dice, iou, lay_over
from evaluation.metrics.truth import Masks
from evaluation.metrics.values import MACRO, list_unscored
from evaluation.tasks.zero_shot_grounding import AUTHORS_THRESHOLD, GRID, best_thresholds, score, score_by_papers
from tests.evaluation.literal_grounding import by_key, literal, make

SHARED = Path(os.environ.get("RADALIGN_SHARED") or Path(__file__).resolve().parents[4] / "shared")
GOLDEN = Path(os.environ.get("RADALIGN_GOLDEN") or SHARED / "golden" / "public")
METRICS = ["pointing_game", "pointing_game_chance", "dice", "iou", "precision", "recall"]


def test_every_metric_has_a_row_for_every_class_and_the_mean():
    maps, masks = make(np.random.default_rng(0), 4, 12)
    maps = np.concatenate([maps, maps[:, :1]], axis=1)
    values = score(maps, masks, ["a", "b", "c"], np.arange(6).astype(str), np.array([0.5, np.nan, 0.5]), resamples=9)
    assert [(v.metric, v.class_name) for v in values] == [(m, c) for m in METRICS for c in ["a", "b", "c", MACRO]]
    without = [
        (metric, name)
        for metric in METRICS
        for name in "bc"
        if name == "c" or metric[0] != "p" or metric == "precision"
    ]
    assert list_unscored(values) == without
    counts = {name: value.n for (metric, name), value in by_key(values).items() if metric == "pointing_game"}
    assert counts == {"a": (masks.columns == 0).sum(), "b": (masks.columns == 1).sum(), "c": 0, MACRO: 2}


def test_intervals_equal_a_literal_loop():
    rng = np.random.default_rng(4)
    maps, masks = make(rng, 4, 12, rows=30, classes=1)
    subjects = rng.integers(0, 12, 30).astype(str)
    values = by_key(score(maps, masks, ["a"], subjects, np.array([0.5]), seed=7, resamples=60))
    each = [literal(maps[r, 0], mask, 0.5, True) for r, mask in zip(masks.rows, masks.pixels, strict=True)]
    samples = {"pointing_game": [], "dice": [], "precision": [], "recall": []}
    for weights in patient_weights(subjects, 60, seed=7).astype(int):
        drawn = [case for case, row in zip(each, masks.rows, strict=True) for _ in range(weights[row])]
        pieces = np.sum([case[4] for case in drawn], axis=0)
        samples["pointing_game"].append(np.mean([case[0] for case in drawn]))
        samples["dice"].append(np.mean([case[2] for case in drawn]))
        samples["precision"].append(pieces[0] / pieces[1])
        samples["recall"].append(pieces[2] / pieces[3])
    for metric, resampled in samples.items():
        value = values[metric, "a"]
        assert (value.low, value.high) == pytest.approx(tuple(np.percentile(resampled, [2.5, 97.5])), abs=1e-12)


def test_threshold_is_the_best_of_the_grid_per_class():
    maps, masks = make(np.random.default_rng(2), 5, 15, rows=12, classes=3)
    masks = Masks(*(part[masks.columns < 2] for part in vars(masks).values()))
    thresholds = best_thresholds(maps, masks)
    assert np.isnan(thresholds[2])
    for column in (0, 1):
        of_class = np.flatnonzero(masks.columns == column)
        means = [
            np.mean([literal(maps[masks.rows[i], column], masks.pixels[i], level, True)[2] for i in of_class])
            for level in GRID
        ]
        assert means[list(GRID).index(thresholds[column])] == pytest.approx(max(means), abs=1e-12)


def test_the_papers_threshold_is_one_for_all_classes_and_the_best_of_the_test_set():
    maps, masks = make(np.random.default_rng(6), 5, 15, rows=12, classes=3)
    masks = Masks(*(part[masks.columns < 2] for part in vars(masks).values()))
    subjects = np.arange(12).astype(str)
    pairs = list(zip(masks.rows, masks.columns, masks.pixels, strict=True))
    means = [np.mean([literal(maps[r, c], mask, level, True)[2] for r, c, mask in pairs]) for level in GRID]
    best = np.full(3, GRID[np.argmax(means)])
    found = by_key(score_by_papers(maps, masks, ["a", "b", "c"], subjects, seed=3, resamples=9))
    at_best = by_key(score(maps, masks, ["a", "b", "c"], subjects, best, seed=3, resamples=9))
    assert {metric for metric, _ in found} == {f"{metric}_by_test_dice" for metric in METRICS[2:]}
    for (metric, name), value in found.items():
        same = at_best[metric.removesuffix("_by_test_dice"), name]
        assert (value.value, value.low, value.high, value.n) == (same.value, same.low, same.high, same.n)
    nothing = Masks(*(part[:0] for part in vars(masks).values()))
    assert {value.value for value in score_by_papers(maps, nothing, ["a", "b", "c"], subjects, resamples=3)} == {None}
    with pytest.raises(EvaluationError, match="do not fit"):
        score_by_papers(maps, masks, ["a"], subjects)


def test_an_empty_mask_counts_as_a_miss():
    masks = Masks(np.array([0]), np.array([0]), np.zeros((1, 8, 8), bool))
    values = by_key(score(np.ones((1, 1, 4, 4)), masks, ["a"], ["p"], np.array([0.0]), resamples=3))
    assert {value.value for value in values.values()} == {0.0}


def test_no_masks_at_all():
    masks = Masks(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 8, 8), bool))
    maps = np.ones((2, 1, 4, 4))
    assert np.isnan(best_thresholds(maps, masks)).all()
    values = score(maps, masks, ["a"], ["p", "q"], np.array([0.5]), resamples=3)
    assert {value.value for value in values} == {None}


def test_a_model_that_points_right_and_one_that_points_at_random():
    rng = np.random.default_rng(0)
    blocks = np.zeros((400, 8, 8), bool)
    blocks[np.arange(400), rng.integers(0, 8, 400), rng.integers(0, 8, 400)] = True
    masks = Masks(np.arange(400), np.zeros(400, int), blocks.repeat(4, 1).repeat(4, 2))
    subjects = np.arange(400).astype(str)
    right = by_key(score(blocks[:, None].astype(float), masks, ["a"], subjects, np.array([0.5]), resamples=20))
    assert {right[metric, "a"].value for metric in METRICS if "chance" not in metric} == {1.0}
    assert right["pointing_game_chance", "a"].value == pytest.approx(1 / 64)
    random = by_key(score(rng.random((400, 1, 8, 8)), masks, ["a"], subjects, np.array([0.5]), resamples=200))
    chance = random["pointing_game_chance", "a"].value
    assert random["pointing_game", "a"].low <= chance <= random["pointing_game", "a"].high


def test_wrong_input_is_said():
    masks = Masks(np.array([0]), np.array([0]), np.ones((1, 8, 8), bool))
    with pytest.raises(EvaluationError, match="do not fit"):
        score(np.ones((2, 1, 4, 4)), masks, ["a"], ["p"], np.array([0.5]))
    with pytest.raises(EvaluationError, match="cannot lie over"):
        score(np.ones((1, 1, 9, 9)), masks, ["a"], ["p"], np.array([0.5]))
    with pytest.raises(EvaluationError, match="not all finite"):
        score(np.full((1, 1, 4, 4), np.nan), masks, ["a"], ["p"], np.array([0.5]))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("medklip_grounding*.npz")) or [None])
def test_authors_code(path):
    if path is None:
        pytest.skip(f"no golden vectors in {GOLDEN}: set RADALIGN_GOLDEN or RADALIGN_SHARED")
    golden = np.load(path, allow_pickle=False)
    variants = sorted({name[: -len("in.labels")] for name in golden.files if name.endswith("in.labels")})
    assert variants
    for variant in variants:
        assert_variant(lambda name, variant=variant: golden[f"{variant}{name}"])


def assert_variant(golden):
    rows, columns = np.nonzero(golden("in.labels") == 1)
    masks = Masks(rows, columns, golden("in.seg_map")[rows] > 0.5)
    maps, threshold = golden("in.pred_map")[:, None], float(golden("hp.threshold"))
    assert threshold == AUTHORS_THRESHOLD
    cells = lay_over(maps, masks, normalise=False)
    region = cells.values > threshold
    np.testing.assert_allclose(dice(region, cells), golden("out32.dice"), rtol=1e-5)
    np.testing.assert_allclose(iou(region, cells), golden("out32.iou"), rtol=1e-5)
    values = by_key(score(maps, masks, ["a"], np.arange(len(maps)).astype(str), np.array([threshold]), False))
    assert values["dice", "a"].n == golden("out32.total_num")
    assert values["dice", "a"].value == pytest.approx(golden("out32.dice").mean(), rel=1e-5)
    hits = values["pointing_game", "a"].value * values["pointing_game", "a"].n
    assert hits == pytest.approx(float(golden("out32.point_score")))
