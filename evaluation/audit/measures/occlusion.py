"""Shortcuts by occluding: whether scores change when a cue is painted over, more than when another region is.

Painting takes the cue away and leaves the finding. Any painting changes a score a little, so each image is compared
with itself, painted over with a region of the same shape and size elsewhere. Changes are those of the logit of a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.audit.measures.contrasts import Statistic, compare_with, count_patients, mean, mean_difference
from evaluation.audit.measures.groups import as_tested
from evaluation.audit.measures.painting import PLACES, move_aside, paint_over, widen
from evaluation.audit.rows import PAINTED, Tested
from evaluation.audit.settings import AuditSettings
from evaluation.metrics.calibration import logit
from evaluation.metrics.statistics import Comparison

CONTROL = "a region beside it"
Score = Callable[[np.ndarray], np.ndarray]  # images (n, size, size) uint8 -> scores (n, findings)


@dataclass(frozen=True)
class Painted:
    """How far the scores of images fall when a cue is painted over, beyond what a control region does."""

    cue: str
    falls: np.ndarray  # (k, findings), in logits
    rows: np.ndarray  # (k,) places of the images among those of the test split
    is_mark: bool  # whether it is a place of marks, which may speak for a finding or against it


def paint_cue(
    cue: str,
    pixels: np.ndarray,
    rows: np.ndarray,
    masks: np.ndarray,
    avoided: np.ndarray,
    frames: np.ndarray,
    score: Score,
) -> Painted | None:
    """Paint the annotated regions of a cue over; None where no image has room for a control region.

    `pixels` (k, size, size) of the test images `rows` (k,), `masks` of the cue, `avoided` regions of findings, and
    `frames`, where the image lies in its square, all (k, size, size) bool.
    """
    regions = [widen(mask) for mask in masks]
    controls = [move_aside(*each) for each in zip(regions, avoided, frames, strict=True)]
    kept = [place for place, control in enumerate(controls) if control is not None]
    if not kept:
        return None
    with_control = [controls[place] for place in kept]
    falls = _compare(pixels[kept], [regions[place] for place in kept], with_control, score)  # type: ignore[arg-type]
    return Painted(cue, falls, rows[kept], is_mark=False)


def paint_places(pixels: np.ndarray, rows: np.ndarray, frames: np.ndarray, score: Score) -> Iterator[Painted]:
    """Paint the places over where text and marks are burned in; shapes as for `paint_cue`."""
    for place, find in PLACES.items():
        regions, controls = zip(*(find(frame) for frame in frames), strict=True)
        yield Painted(place, _compare(pixels, regions, controls, score), rows, is_mark=True)


def _compare(
    pixels: np.ndarray, regions: Sequence[np.ndarray], controls: Sequence[np.ndarray], score: Score
) -> np.ndarray:
    """(k, findings) the logit with the control region painted over, less that with the cue painted over."""
    painted = (
        np.stack([paint_over(image, region) for image, region in zip(pixels, masks, strict=True)])
        for masks in (regions, controls)
    )
    without_cue, without_control = (logit(score(images)) for images in painted)
    return without_control - without_cue


def compare_painted(
    painted: Painted, findings: Sequence[str], labels: np.ndarray, patients: np.ndarray, settings: AuditSettings
) -> Iterator[Tested]:
    """A test for each finding; `labels` (n, findings) and `patients` (n,) are of the whole test split.

    Of a cue: whether scores fall or rise, which is 0 where it does not matter. Of a place of marks: whether scores of
    images with the finding fall more than those of images without it, as the marks then tell the two apart.
    """
    known, who = labels[painted.rows], patients[painted.rows]
    for column, finding in enumerate(findings):
        if finding == painted.cue:
            continue
        falls, values = painted.falls[:, column], known[:, column]
        present, absent = values == 1, values == 0
        place = (PAINTED, finding, painted.cue, "painted over", CONTROL, int(present.sum()), int(absent.sum()))
        sets = (present, absent) if painted.is_mark else (np.ones(len(falls), bool),)
        count = min(count_patients(who[each]) for each in sets)
        if count < settings.fewest:
            yield Tested(
                *place, reason=f"{count} patients whose images can be painted over, fewer than {settings.fewest}"
            )
            continue
        statistic: Statistic = mean_difference(falls, present, absent) if painted.is_mark else mean(falls, sets[0])
        found = compare_with(statistic, 0.0, who)
        yield as_tested(place, statistic.value, 0.0, _ask_one_side(found) if painted.is_mark else found)


def _ask_one_side(found: Comparison) -> Comparison:
    """The test of whether there is more than 0; less than 0 is what the control region does."""
    return found._replace(p=found.p / 2 if found.difference > 0 else 1 - found.p / 2)
