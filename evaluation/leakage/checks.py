"""What a network, or what chose its settings, may have seen of a test set: checked and told.

Patients are compared where two cohorts name them alike, films by their hashes (`evaluation.leakage.duplicates`). Only
counts are kept: identifiers stay in the tables they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from cohorts.registry import dataset
from evaluation.leakage.duplicates import informative, near_duplicates

PATIENTS, FILMS = "patients", "films"  # the kinds


@dataclass(frozen=True)
class Sample:
    """Films of one or several splits of a cohort."""

    cohort: str
    splits: tuple[str, ...]
    subjects: np.ndarray  # (n,)
    hashes: np.ndarray  # (n, 2, BITS / 8) of `evaluation.leakage.duplicates.hashes`

    @property
    def name(self) -> str:
        """How sentences call it."""
        return f"{self.cohort} ({', '.join(self.splits)})"


@dataclass(frozen=True)
class Leak:
    """What a check of a test sample against films that were seen before found; a count of 0 is no leak."""

    kind: str  # PATIENTS or FILMS
    seen: str  # name of the sample
    tested: str  # name of the sample
    count: int | None  # of those tested that were seen, too; None: cannot be told
    of: int  # how many were compared
    shared: tuple[str, ...] = ()  # archives that both cohorts hold films of


def shared_patients(seen: Sample, tested: Sample) -> Leak:
    """How many patients of `tested` have films in `seen`; untold where the two cohorts name patients differently."""
    patients = np.unique(np.asarray(tested.subjects, str))
    known = np.isin(patients, np.asarray(seen.subjects, str)).sum()
    count = int(known) if same_identifiers(seen.cohort, tested.cohort) else None
    return _leak(PATIENTS, seen, tested, count, len(patients))


def shared_films(seen: Sample, tested: Sample) -> Leak:
    """How many films of `tested` are near duplicates of one in `seen`; nearly blank films are not compared."""
    pairs = near_duplicates(seen.hashes, tested.hashes)
    return _leak(FILMS, seen, tested, len(np.unique(pairs[:, 1])), int(informative(tested.hashes).sum()))


def between_splits(samples: Sequence[Sample]) -> list[Leak]:
    """Patients and films that are in two of the samples, splits of one cohort in the order train, validate, test."""
    checks = (shared_patients, shared_films)
    return [check(earlier, later) for earlier, later in combinations(samples, 2) for check in checks]


def same_identifiers(one: str, other: str) -> bool:
    """Whether equal `subject_id` of the two cohorts are one patient."""
    return one == other or bool({*dataset(one).patient_sources} & {*dataset(other).patient_sources})


def describe(leaks: Sequence[Leak]) -> list[str]:
    """A sentence for each, also where nothing was found."""
    return [_sentence(leak) for leak in leaks]


def _leak(kind: str, seen: Sample, tested: Sample, count: int | None, of: int) -> Leak:
    if seen.cohort == tested.cohort:
        shared: tuple[str, ...] = ()
    else:
        sources = dataset(tested.cohort).image_sources
        shared = tuple(name for name in dataset(seen.cohort).image_sources if name in sources)
    return Leak(kind, seen.name, tested.name, count, of, shared)


def _sentence(leak: Leak) -> str:
    source = f" Both hold films of {' and of '.join(leak.shared)}." if leak.shared else ""
    if leak.count is None:
        return f"{leak.seen} and {leak.tested} name their patients differently: only films can be compared.{source}"
    if not leak.of:
        return f"{leak.tested} has no {leak.kind} to compare with {leak.seen}."
    how = "also in" if leak.kind == PATIENTS else "near duplicates of one in"
    found = f"{leak.count:,}" if leak.count else "None"
    return f"{found} of the {leak.of:,} {leak.kind} of {leak.tested} are {how} {leak.seen}.{source}"
