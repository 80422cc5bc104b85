"""Calibration against torchmetrics, scikit-learn and the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from evaluation.metrics.calibration import Scaling, brier, fit_platt, fit_temperature, logit, reliability


def simulated(seed, images=700):
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.7, 1.8, images)
    return (rng.random(images) < 0.1 + 0.7 * scores).astype(float), scores


def literal_error(labels, scores, bins):
    total = 0.0
    for place in range(bins):
        low, high = place / bins, (place + 1) / bins
        members = [n for n in range(len(scores)) if low < scores[n] <= high or (place == 0 and scores[n] == 0)]
        if members:
            share = sum(labels[n] for n in members) / len(members)
            total += len(members) * abs(share - sum(scores[n] for n in members) / len(members))
    return total / len(scores)


@pytest.mark.parametrize("bins", [2, 10, 15])
@pytest.mark.parametrize("seed", range(4))
def test_the_expected_calibration_error_is_that_of_torchmetrics_and_of_the_definition(seed, bins):
    labels, scores = simulated(seed)
    error = reliability(labels, scores, bins).error
    theirs = binary_calibration_error(torch.from_numpy(scores), torch.from_numpy(labels).long(), bins, "l1")
    assert error == pytest.approx(float(theirs), abs=1e-9)
    assert error == pytest.approx(literal_error(labels, scores, bins), abs=1e-9)


@pytest.mark.parametrize(("equal_mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_the_curve_is_that_of_scikit_learn(equal_mass, strategy):
    labels, scores = simulated(5)
    scores[:9] = [0, 1, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 0]  # on the bounds of bins
    curve = reliability(labels, scores, 10, equal_mass)
    shares, means = calibration_curve(labels, scores, n_bins=10, strategy=strategy)
    np.testing.assert_allclose(curve.shares, shares, rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.scores, means, rtol=0, atol=1e-12)
    assert curve.counts.sum() == len(labels)


def test_the_brier_score_is_that_of_scikit_learn():
    labels, scores = simulated(6)
    assert brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)


def test_a_temperature_is_what_a_logistic_regression_without_an_offset_finds():
    labels, scores = simulated(7)
    theirs = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    theirs.fit(logit(scores)[:, None], labels)
    assert fit_temperature(labels, scores).slope == pytest.approx(float(theirs.coef_[0, 0]), rel=1e-4)


def test_scaling_undoes_what_was_done_to_probabilities():
    rng = np.random.default_rng(8)
    truth = rng.uniform(0.02, 0.98, 40_000)
    labels = (rng.random(len(truth)) < truth).astype(float)
    too_sure = Scaling(3.0).probabilities(truth)
    assert 1 / fit_temperature(labels, too_sure).slope == pytest.approx(3, rel=0.05)
    shifted = fit_platt(labels, Scaling(2.0, 1.0).probabilities(truth))
    assert (shifted.slope, shifted.offset) == (pytest.approx(0.5, rel=0.05), pytest.approx(-0.5, abs=0.05))
    scaled = fit_temperature(labels, too_sure).probabilities(too_sure)
    assert reliability(labels, scaled, 15).error < 0.01 < 0.1 < reliability(labels, too_sure, 15).error


def test_scores_of_0_and_1_have_finite_logits():
    scores = np.array([0.0, 1.0, 0.5, 0.5])
    assert np.isfinite(logit(scores)).all()
    assert np.isfinite(fit_temperature(np.array([0.0, 1.0, 1.0, 0.0]), scores).slope)
