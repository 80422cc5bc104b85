"""Our statistics, set to CheXzero's, give the numbers of its code."""

import numpy as np
import pytest

from cohorts.labels import CHEXPERT_5
from evaluation.metrics.classification import (
    auroc,
    best_threshold,
    confusion,
    counts_at_every_threshold,
    image_weights,
    rates,
    weighted_auroc,
)
from evaluation.metrics.values import interval
from tests.golden.conftest import golden_files, load

ROUNDED = 0.5e-4 + 1e-9  # their tables have four digits
THRESHOLD_RESAMPLES, THRESHOLD_SEED = 1000, 97


def table(resampled: np.ndarray) -> np.ndarray:
    """Rows mean, lower and upper of every column, as their tables."""
    bounds = [interval(column, "ranks") for column in resampled.T]
    return np.vstack([resampled.mean(0), np.transpose(bounds)])


@pytest.mark.parametrize("path", golden_files("chexzero_metrics*.npz"))
def test_auroc_and_its_bootstrap(path):
    arrays = load(path)
    labels, scores = arrays["in.y_true"], arrays["in.y_pred"]
    areas = [auroc(labels[:, c].astype(float), scores[:, c]) for c in range(labels.shape[1])]
    np.testing.assert_allclose(areas, arrays["out.auc"], atol=1e-12)
    runs = [key.removesuffix("_auc") for key in arrays if key.startswith("out.bootstrap") and key.endswith("_auc")]
    assert runs
    for run in runs:
        theirs = arrays[f"{run}_auc"]
        weights = image_weights(len(labels), [np.random.RandomState(seed) for seed in range(len(theirs))])
        ours = np.stack([weighted_auroc(labels[:, c], scores[:, c], weights) for c in range(labels.shape[1])], axis=1)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        np.testing.assert_allclose(table(ours), arrays[f"{run}_ci_mean_lower_upper"], atol=ROUNDED)


@pytest.mark.parametrize("criterion", ["f1", "mcc"])
@pytest.mark.parametrize("path", golden_files("chexzero_metrics*.npz"))
def test_thresholds(path, criterion):
    arrays = load(path)
    labels, scores, theirs = arrays["in.y_true"], arrays["in.y_pred"], arrays[f"out.best_{criterion}_threshold"]
    for column, threshold in enumerate(theirs):
        levels, counts = counts_at_every_threshold(labels[:, column], scores[:, column])
        quality = rates(counts)[criterion]
        assert quality[levels == threshold] == pytest.approx(quality.max(), abs=1e-12)
        if np.isclose(quality, quality.max(), atol=1e-12).sum() == 1:
            assert best_threshold(labels[:, column].astype(float), scores[:, column], criterion) == threshold


@pytest.mark.parametrize("path", golden_files("chexzero_metrics*.npz"))
def test_youden_point(path):
    arrays = load(path)
    labels, scores = arrays["in.y_true"], arrays["in.y_pred"]
    for column, theirs in enumerate(arrays["out.youden_sens_spec"]):
        levels, counts = counts_at_every_threshold(labels[:, column], scores[:, column])
        point = np.stack([rates(counts)["recall"], rates(counts)["specificity"]])
        best = np.isclose(point.sum(0), point.sum(0).max(), atol=1e-12)
        assert np.isclose(point[:, best], theirs[:, None], atol=1e-12).all(0).any()
        assert best[levels == best_threshold(labels[:, column].astype(float), scores[:, column], "youden")]


@pytest.mark.parametrize("metric", ["f1", "mcc"])
@pytest.mark.parametrize("path", golden_files("chexzero_metrics*.npz"))
def test_intervals_at_the_threshold(path, metric):
    arrays = load(path)
    labels, predicted = arrays["in.y_true"], arrays["in.y_pred"] >= arrays["out.best_mcc_threshold"]
    single = rates(confusion(predicted, labels, np.ones((1, len(labels)))))[metric][0]
    np.testing.assert_allclose(single, arrays[f"ref.{metric}_at_threshold"], atol=1e-12)
    weights = image_weights(len(labels), [np.random.RandomState(THRESHOLD_SEED)] * THRESHOLD_RESAMPLES)
    resampled = rates(confusion(predicted, labels, weights))[metric]
    names = list(arrays["in.labels"])
    mean = resampled[:, [names.index(name) for name in CHEXPERT_5]].mean(1, keepdims=True)  # of these five, always
    assert [*names, "Mean"] == list(arrays[f"out.{metric}_ci_columns"])
    theirs = arrays[f"out.{metric}_ci_mean_lower_upper"]
    np.testing.assert_allclose(table(np.hstack([resampled, mean])), theirs, atol=ROUNDED)
