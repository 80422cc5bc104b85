"""Checks whether patients or images of a test split were seen by pretraining or are in another split.

Patients are compared where two cohorts share identifiers, and images by their hashes (`shards.duplicates`).
Only counts are kept. Identifiers stay in the tables that they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cohorts.registry import dataset, share_patients
from shards.duplicates import find_near_duplicates, has_structure

PATIENTS, IMAGES = "patients", "images"  # the kinds


@dataclass(frozen=True)
class Sample:
    """Images of one or several splits of a cohort."""

    cohort: str
    splits: tuple[str, ...]
    subjects: np.ndarray  # (n,)
    hashes: np.ndarray  # (n, 2, BITS / 8) of `shards.duplicates.hash_images`

    @property
    def name(self) -> str:
        """The name of the sample in sentences."""
        return f"{self.cohort} ({', '.join(self.splits)})"


@dataclass(frozen=True)
class Leak:
    """The result of comparing a test sample with a sample that was seen before. A count of 0 is no leak."""

    kind: str  # PATIENTS or IMAGES
    seen: str  # name of the sample
    tested: str  # name of the sample
    count: int | None  # how many of those tested were seen; None where that is unknown
    of: int  # how many were compared
    shared: tuple[str, ...] = ()  # archives that both cohorts hold images of


def find_shared_patients(seen: Sample, tested: Sample) -> Leak:
    """Count the patients of `tested` with images in `seen`. The count is None where the identifiers are not shared."""
    patients = np.unique(np.asarray(tested.subjects, str))
    known = np.isin(patients, np.asarray(seen.subjects, str)).sum()
    count = int(known) if share_patients(seen.cohort, tested.cohort) else None
    return _make_leak(PATIENTS, seen, tested, count, len(patients))


def find_shared_images(seen: Sample, tested: Sample) -> Leak:
    """Count the images of `tested` that are near duplicates of one in `seen`. Nearly blank images are not compared."""
    pairs = find_near_duplicates(seen.hashes, tested.hashes)
    return _make_leak(IMAGES, seen, tested, len(np.unique(pairs[:, 1])), int(has_structure(tested.hashes).sum()))


def compare_splits(samples: Sequence[Sample]) -> list[Leak]:
    """Count patients and images that are in two of the samples, the splits train, validate and test of one cohort."""
    checks = (find_shared_patients, find_shared_images)
    return [check(earlier, later) for earlier, later in combinations(samples, 2) for check in checks]


def describe(leaks: Sequence[Leak]) -> list[str]:
    """Write a sentence for each comparison, also where nothing was found."""
    return [_write_sentence(leak) for leak in leaks]


def _make_leak(kind: str, seen: Sample, tested: Sample, count: int | None, of: int) -> Leak:
    if seen.cohort == tested.cohort:
        shared: tuple[str, ...] = ()
    else:
        sources = dataset(tested.cohort).image_sources
        shared = tuple(name for name in dataset(seen.cohort).image_sources if name in sources)
    return Leak(kind, seen.name, tested.name, count, of, shared)


def _write_sentence(leak: Leak) -> str:
    source = f" Both hold images of {' and of '.join(leak.shared)}." if leak.shared else ""
    if leak.count is None:
        return f"{leak.seen} and {leak.tested} name their patients differently: only images can be compared.{source}"
    if not leak.of:
        return f"{leak.tested} has no {leak.kind} to compare with {leak.seen}."
    how = "also in" if leak.kind == PATIENTS else "near duplicates of one in"
    found = f"{leak.count:,}" if leak.count else "None"
    return f"{found} of the {leak.of:,} {leak.kind} of {leak.tested} are {how} {leak.seen}.{source}"
