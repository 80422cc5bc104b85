"""Whether scores are probabilities: reliability curves, expected calibration error, Brier score, and scaling.

A score is calibrated where, of the images with a score near p, a share of p have the finding. Scaling turns scores into
probabilities by a logistic function of their logit: with a slope alone, one over the temperature (Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017), or with an offset too (Platt, "Probabilistic Outputs for Support
Vector Machines", 1999, with his smoothed targets).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

EDGE = 1e-6  # of scores, so that their logits are finite


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: what is known of the scores of each bin that has any."""

    counts: np.ndarray  # (bins,) images
    scores: np.ndarray  # (bins,) mean score
    shares: np.ndarray  # (bins,) share of the images that have the finding

    @property
    def error(self) -> float:
        """The expected calibration error: mean distance of score and share, weighted by images."""
        return float(np.average(np.abs(self.scores - self.shares), weights=self.counts))


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int, equal_mass: bool = False) -> Reliability:
    """The curve of scores (n,) in 0..1 against labels (n,) 1 or 0, at least one.

    Bins have equal widths, or with `equal_mass` their bounds are quantiles of the scores. A score on a bound counts to
    the bin below, as in scikit-learn's `calibration_curve`.
    """
    levels = np.linspace(0, 1, bins + 1)
    bounds = np.quantile(scores, levels) if equal_mass else levels
    places = np.searchsorted(bounds[1:-1], scores)
    counts = np.bincount(places, minlength=bins)
    sums = (np.bincount(places, weights=values, minlength=bins) for values in (scores, labels))
    filled = counts > 0
    means = [total[filled] / counts[filled] for total in sums]
    return Reliability(counts[filled], *means)


def brier(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean squared difference of scores (n,) in 0..1 and labels (n,) 1 or 0."""
    return float(np.mean((scores.astype(np.float64) - labels) ** 2))


@dataclass(frozen=True)
class Scaling:
    """A probability is the logistic function of `slope` times the logit of a score, plus `offset`."""

    slope: float
    offset: float = 0.0

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Of scores in 0..1, of any shape."""
        values: np.ndarray = 1 / (1 + np.exp(-(self.slope * logit(scores) + self.offset)))
        return values


def fit_temperature(labels: np.ndarray, scores: np.ndarray) -> Scaling:
    """The scaling without an offset that makes labels (n,) 1 or 0 likeliest; its slope is 1 / temperature."""
    logits = logit(scores)
    spread = float(np.sqrt(np.mean(logits**2))) or 1.0
    (slope,) = minimize(lambda values: _loss(values[0] * logits / spread, labels), np.ones(1)).x
    return Scaling(float(slope / spread))


def fit_platt(labels: np.ndarray, scores: np.ndarray) -> Scaling:
    """Platt's scaling, with slope and offset, of scores (n,) in 0..1 whose labels (n,) are 1 or 0."""
    positives = int(labels.sum())
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))
    logits = logit(scores)
    centre, spread = float(logits.mean()), float(logits.std()) or 1.0
    standard = (logits - centre) / spread
    slope, offset = minimize(lambda values: _loss(values[0] * standard + values[1], targets), np.array([1.0, 0.0])).x
    return Scaling(float(slope / spread), float(offset - slope * centre / spread))


def logit(scores: np.ndarray) -> np.ndarray:
    """The log odds of scores in 0..1, which are kept off 0 and 1."""
    inside = np.clip(scores.astype(np.float64), EDGE, 1 - EDGE)
    logits: np.ndarray = np.log(inside / (1 - inside))
    return logits


def _loss(logits: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, logits) - targets * logits))
