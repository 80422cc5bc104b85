"""The calibration of zero-shot scores on test: as they are, and scaled by what was fitted on validate alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluation.audit.measures.examined import Examined
from evaluation.audit.rows import CalibrationRow, Interval
from evaluation.audit.settings import AuditSettings
from evaluation.metrics.calibration import Scaling, brier, fit_platt, fit_temperature, reliability
from evaluation.metrics.classification import is_scorable, patient_weights
from evaluation.metrics.values import interval

NO_SCALING, TEMPERATURE, OFFSET = "none", "temperature", "temperature and offset"
NOT_IN_TEST = "the test split does not have images both with and without it"
NOT_IN_VALIDATE = "the validate split does not have images both with and without it"


def measure_calibration(examined: Examined, settings: AuditSettings) -> Iterator[CalibrationRow]:
    """A row for each finding and scaling."""
    weights = patient_weights(examined.test.subjects, settings.resamples, seed=0)
    for column, finding in enumerate(examined.findings):
        labels, scores = examined.test.labels[:, column], examined.test.scores[:, column]
        known = ~np.isnan(labels)
        images, positives = int(known.sum()), int((labels == 1).sum())
        if not is_scorable(labels):
            yield CalibrationRow(
                finding, NO_SCALING, images, positives, Interval(None), Interval(None), reason=NOT_IN_TEST
            )
            continue
        for name, scaling in _fit(examined.validate.labels[:, column], examined.validate.scores[:, column]).items():
            if scaling is None:
                yield CalibrationRow(
                    finding, name, images, positives, Interval(None), Interval(None), reason=NOT_IN_VALIDATE
                )
                continue
            scaled = scores[known].astype(np.float64) if name == NO_SCALING else scaling.probabilities(scores[known])
            yield _measure(finding, name, labels[known], scaled, weights[:, known], scaling, settings)


def _fit(labels: np.ndarray, scores: np.ndarray) -> dict[str, Scaling | None]:
    known = ~np.isnan(labels)
    if not is_scorable(labels):
        return {NO_SCALING: Scaling(1.0), TEMPERATURE: None}
    fitted = labels[known], scores[known]
    return {NO_SCALING: Scaling(1.0), TEMPERATURE: fit_temperature(*fitted), OFFSET: fit_platt(*fitted)}


def _measure(
    finding: str,
    name: str,
    labels: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
    scaling: Scaling,
    settings: AuditSettings,
) -> CalibrationRow:
    curve = reliability(labels, scores, settings.bins, settings.equal_mass)
    return CalibrationRow(
        finding,
        name,
        len(labels),
        int(labels.sum()),
        Interval(curve.error, *interval(_resample_error(labels, scores, weights, settings))),
        Interval(brier(labels, scores), *interval(_average((scores - labels) ** 2, weights))),
        scaling.slope,
        scaling.offset,
        tuple(zip(curve.counts.tolist(), curve.scores.tolist(), curve.shares.tolist(), strict=True)),
    )


def _resample_error(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, settings: AuditSettings) -> np.ndarray:
    """The expected calibration error under each row of `weights` (resamples, n), in the bins of the images."""
    levels = np.linspace(0, 1, settings.bins + 1)
    bounds = np.quantile(scores, levels) if settings.equal_mass else levels
    member = np.eye(settings.bins)[np.searchsorted(bounds[1:-1], scores)]  # (n, bins)
    gaps = np.abs(weights @ (member * (scores - labels)[:, None])).sum(axis=1)
    return _divide(gaps, weights.sum(axis=1))


def _average(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _divide(weights @ values, weights.sum(axis=1))


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
