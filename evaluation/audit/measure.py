"""Everything that an audit measures of a network on one dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from evaluation.audit.collect import SPLITS, Collected, describe_missing_facts, score_with
from evaluation.audit.measures.calibration import measure_calibration
from evaluation.audit.measures.counts import count_findings
from evaluation.audit.measures.examined import Examined
from evaluation.audit.measures.groups import measure_gaps
from evaluation.audit.measures.occlusion import Painted, compare_painted
from evaluation.audit.measures.operating_points import choose_thresholds, measure_points
from evaluation.audit.measures.shortcuts import compare_negatives, describe_cues
from evaluation.audit.rows import CueRow, DatasetAudit, Tested
from evaluation.audit.settings import AuditSettings

Log = Callable[[str], object]
NO_FINDINGS = "Nothing was measured: the dataset has no labels that the network can be asked for."
NO_IMAGES = "Nothing was measured: the test split has no images."
NO_CUES = "Shortcuts by support devices were not measured: the dataset has no label of one."
NO_TEXTS = (
    "Whether images with burned-in text or laterality marks score differently was not measured: no archive says which "
    "images have them. Their usual places were painted over instead."
)
NOT_PAINTED = "No cue was painted over: the setting `occluded` is 0."


def measure_dataset(collected: Collected, log: Log) -> DatasetAudit:
    """Measure everything on one dataset; the p-values are not corrected yet."""
    dataset, images = collected.dataset, collected.images
    dates = sorted(filter(None, (date for table in collected.facts.values() for date in table["date"].to_pylist())))
    about = DatasetAudit(
        dataset.workspace.cohort_name(),
        dataset.reader.manifest.digest,
        dataset.workspace.shows_simulation(),
        {split: len(images[split]) for split in SPLITS},
        {split: len(np.unique(images[split].subjects.astype(str))) for split in SPLITS},
        (dates[0], dates[-1]) if dates else ("", ""),
    )
    if not collected.findings or not len(images["test"]):
        about.unmeasured.append(NO_IMAGES if collected.findings else NO_FINDINGS)
        return about
    examined = collected.examined()
    about.calibration.extend(measure_calibration(examined, collected.settings))
    about.operating_points.extend(measure_points(examined, collected.settings))
    about.tests.extend(compare_scores(examined, collected.settings))
    about.cues.extend(_describe_cues(collected, examined))
    for split in SPLITS:
        labels = collected.labels(split, collected.findings)
        about.counts.extend(count_findings(split, collected.findings, labels, collected.groups(split)))
    about.unmeasured.extend(describe_missing_facts(examined.groups))
    about.unmeasured.extend([] if examined.cues else [NO_CUES])
    for found in _paint(collected, log):
        if isinstance(found, str):
            about.unmeasured.append(found)
        else:
            test = examined.test
            about.tests.extend(
                compare_painted(found, examined.findings, test.labels, test.patients, collected.settings)
            )
    return about


def compare_scores(examined: Examined, settings: AuditSettings) -> Iterator[Tested]:
    """Every test that needs scores alone: gaps between groups, and shortcuts by stratifying."""
    yield from measure_gaps(examined, choose_thresholds(examined, settings.operating_point), settings)
    yield from compare_negatives(examined, settings)


def _describe_cues(collected: Collected, examined: Examined) -> Iterator[CueRow]:
    labels = collected.labels("train", collected.findings)
    cues = dict(zip(collected.cues, collected.labels("train", collected.cues).T, strict=True))
    return describe_cues(examined, labels, cues)


def _paint(collected: Collected, log: Log) -> Iterator[Painted | str]:
    if not collected.settings.occluded:
        yield NOT_PAINTED
        return
    log(f"Painting cues over in at most {collected.settings.occluded} test images each.")
    yield NO_TEXTS
    yield from collected.paint(score_with(collected.predictions))
