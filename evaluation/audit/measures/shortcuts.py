"""Shortcuts by stratifying: whether a finding is told from something that only comes with it.

Among images without a finding, a network that looks for the finding scores those with a cue no higher than those
without. A higher or lower score shows that the cue moves the score. It does not show why: the cue may also come with
another finding that looks like this one. Painting the cue over (`occlusion.py`) asks for the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from evaluation.audit.measures.contrasts import area, compare_with, count_patients
from evaluation.audit.measures.examined import Examined, divide
from evaluation.audit.measures.groups import as_tested
from evaluation.audit.rows import NEGATIVES, CueRow, Tested
from evaluation.audit.settings import AuditSettings

CUE_FACTS = ("view", "device")  # facts of an image that are cues beside labels
CHANCE = 0.5


def list_cues(examined: Examined) -> Iterator[tuple[str, str, str, np.ndarray, np.ndarray]]:
    """Each cue: the fact or label, its group, what that is compared with, and the images with and without it (n,)."""
    for label, values in examined.cues.items():
        yield label, "with", "without", values == 1, values == 0
    for fact in CUE_FACTS:
        if fact in examined.groups:
            for group, against, inside, outside in divide(examined.groups[fact]):
                yield fact, group, against, inside, outside


def compare_negatives(examined: Examined, settings: AuditSettings) -> Iterator[Tested]:
    """For each finding and cue, how often an image without the finding scores higher with the cue than without it.

    Half of the pairs of images, if the cue does not matter.
    """
    patients = examined.test.patients
    for fact, group, against, inside, outside in list_cues(examined):
        for column, finding in enumerate(examined.findings):
            if finding == fact:
                continue
            labels, scores = examined.test.labels[:, column], examined.test.scores[:, column]
            present, absent = (int((inside & (labels == value)).sum()) for value in (1, 0))
            place = (NEGATIVES, finding, fact, group, against, present, absent)
            with_it, without = inside & (labels == 0), outside & (labels == 0)
            count = min(count_patients(patients[mask]) for mask in (with_it, without))
            if count < settings.fewest:
                reason = f"{count} patients without it on one side of the cue, fewer than {settings.fewest}"
                yield Tested(*place, reason=reason)
                continue
            statistic = area(scores, with_it, without)
            yield as_tested(place, statistic.value, CHANCE, compare_with(statistic, CHANCE, patients))


def describe_cues(
    examined: Examined, train_labels: np.ndarray, train_cues: Mapping[str, np.ndarray]
) -> Iterator[CueRow]:
    """How often each cue comes with each finding, and the AUROC across and within images with the cue and without.

    `train_labels` (n, findings) and `train_cues`, cue -> (n,), are those of the train split, 1, 0 or nan.
    """
    for cue, values in examined.cues.items():
        for column, finding in enumerate(examined.findings):
            if finding == cue:
                continue
            labels, scores = examined.test.labels[:, column], examined.test.scores[:, column]
            strata = [(known & (labels == 1), known & (labels == 0)) for known in (values == 1, values == 0)]
            present, absent = (np.logical_or(*masks) for masks in zip(*strata, strict=True))
            across = area(scores, present, absent).value if present.any() and absent.any() else None
            pairs = [int(one.sum()) * int(other.sum()) for one, other in strata]
            within = [area(scores, *masks).value if count else 0.0 for masks, count in zip(strata, pairs, strict=True)]
            yield CueRow(
                finding,
                cue,
                _shares(train_labels[:, column], train_cues[cue]),
                _shares(labels, values),
                across,
                float(np.average(within, weights=pairs)) if any(pairs) else None,
            )


def _shares(labels: np.ndarray, cue: np.ndarray) -> tuple[float | None, float | None]:
    """The share of images that have the cue, of those with a finding and of those without."""
    known = ~np.isnan(cue)
    with_it, without = (cue[known & (labels == value)] for value in (1, 0))
    return tuple(float(part.mean()) if len(part) else None for part in (with_it, without))  # type: ignore[return-value]
