"""Operating points: thresholds that are chosen on validate, and what they do on test.

A rate of 0 or 1 is the same in every resample, which says nothing of how sure it is. Its interval is the exact one of
Clopper and Pearson (1934) of as many trials as there are patients.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluation.audit.measures.calibration import NOT_IN_TEST, NOT_IN_VALIDATE
from evaluation.audit.measures.contrasts import count_patients
from evaluation.audit.measures.examined import Examined
from evaluation.audit.rows import Interval, OperatingRow
from evaluation.audit.settings import YOUDEN, AuditSettings
from evaluation.metrics.classification import Confusion, best_threshold, confusion, is_scorable, patient_weights
from evaluation.metrics.values import interval

TAIL = 0.025  # of a 95 % interval, on each side


def choose_threshold(labels: np.ndarray, scores: np.ndarray, point: str) -> float:
    """The score from which on a finding counts as present; nan unless validate has both labels.

    `point` is `youden`, or a sensitivity: the highest threshold that reaches it. `labels` (n,) are 1, 0 or nan.
    """
    if point == YOUDEN or not is_scorable(labels):
        return best_threshold(labels, scores, YOUDEN)
    present = np.sort(scores[labels == 1])[::-1]
    return float(present[int(np.ceil(float(point) * len(present) - 1e-9)) - 1])


def choose_thresholds(examined: Examined, point: str) -> np.ndarray:
    """(findings,) thresholds of an operating point on validate, or nan."""
    validate = examined.validate
    return np.array(
        [choose_threshold(validate.labels[:, c], validate.scores[:, c], point) for c in range(len(examined.findings))]
    )


def measure_points(examined: Examined, settings: AuditSettings) -> Iterator[OperatingRow]:
    """A row for each finding and operating point, with intervals by resampling patients."""
    weights = patient_weights(examined.test.subjects, settings.resamples, seed=0)
    everyone = np.ones((1, len(weights[0])))
    labels, patients = examined.test.labels, examined.test.patients
    for point in settings.operating_points:
        thresholds = choose_thresholds(examined, point)
        reached = examined.test.scores >= thresholds
        once, resampled = (_rates(confusion(reached, labels, each)) for each in (everyone, weights))
        for c, finding in enumerate(examined.findings):
            images, positives = int((~np.isnan(labels[:, c])).sum()), int((labels[:, c] == 1).sum())
            known = np.isfinite(thresholds[c])
            reason = NOT_IN_TEST if not is_scorable(labels[:, c]) else "" if known else NOT_IN_VALIDATE
            among = _list_denominators(labels[:, c], reached[:, c])
            rates = {
                name: _interval(once[name][0, c], resampled[name][:, c], count_patients(patients[among[name]]))
                for name in ([] if reason else once)
            }
            yield OperatingRow(
                finding, point, float(thresholds[c]) if known else None, images, positives, rates, reason
            )


def _rates(counts: Confusion) -> dict[str, np.ndarray]:
    """Shares of counts, nan where there is nothing to share."""
    tp, fp, fn, tn = counts
    shares = {"sensitivity": (tp, fn), "specificity": (tn, fp), "PPV": (tp, fp), "NPV": (tn, fn)}
    return {
        name: np.divide(part, part + rest, out=np.full(part.shape, np.nan), where=part + rest > 0)
        for name, (part, rest) in shares.items()
    }


def _list_denominators(labels: np.ndarray, reached: np.ndarray) -> dict[str, np.ndarray]:
    """The images (n,) bool that each rate is a share of."""
    known = ~np.isnan(labels)
    return {"sensitivity": labels == 1, "specificity": labels == 0, "PPV": known & reached, "NPV": known & ~reached}


def _interval(value: float, resampled: np.ndarray, patients: int) -> Interval:
    if not np.isfinite(value):
        return Interval(None)
    bound = TAIL ** (1 / patients)
    if value in (0, 1):
        return Interval(float(value), *((0.0, 1 - bound) if value == 0 else (bound, 1.0)))
    return Interval(float(value), *interval(resampled))
