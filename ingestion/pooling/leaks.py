"""Which images of a pool are not used: those that a test or validate split of another member would meet again.

A test has to be new to the network, and so has the split that chooses its weights. An image of the train split is left
out if its patient or a copy of it is in the test or validate split of another member, and one of the validate split if
it is in the test split of another. Patients are compared where two datasets keep the identifiers of one archive, copies
by a perceptual hash. A copy also tells that two patients with different identifiers are one: all images of the patient
are left out. Of copies in the same split the first member has one that is kept. Splits of one dataset are as the
dataset defines them; the asset `leakage` reports what they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cohorts.registry import share_patients
from shards.duplicates import find_near_duplicates
from shards.pool import LEFT_OUT

SPLITS = ("validate", "train")  # those that are trained on, the one that wins first
MET_LATER = {"train": ("test", "validate"), "validate": ("test",)}  # split -> splits that must not share anything
PATIENT, COPY, BY_COPY = "patient_in", "copy_in", "patient_of_copy_in"  # beginnings of reasons; the split follows


@dataclass(frozen=True)
class Part:
    """The images of one split of a member."""

    cohort: str
    split: str
    image_ids: np.ndarray  # (n,)
    subjects: np.ndarray  # (n,) patients
    hashes: np.ndarray  # (n, 2, BITS / 8) of `shards.duplicates.hash_images`


def find_left_out(parts: Sequence[Part]) -> pa.Table:
    """The rows of the schema LEFT_OUT, one for each image that is not used, with the first reason that is found."""
    rows = [row for split in SPLITS for row in _left_out_of(split, parts)]
    return pa.Table.from_pylist(rows, LEFT_OUT)


def _left_out_of(split: str, parts: Sequence[Part]) -> Iterator[dict[str, str]]:
    kept: list[Part] = []
    for part in sorted((part for part in parts if part.split == split), key=lambda part: part.cohort):
        reasons: dict[int, tuple[str, str]] = {}
        for later in MET_LATER[split]:
            for other in parts:
                if other.split == later and other.cohort != part.cohort:
                    _add(reasons, _shared_patients(part, other), f"{PATIENT}_{later}", other.cohort)
                    copies = _copies(part, other)
                    _add(reasons, copies, f"{COPY}_{later}", other.cohort)
                    copied = [part.subjects[copies], *_copied_elsewhere(part, other, parts)]
                    _add(reasons, _of_patients(part, np.concatenate(copied)), f"{BY_COPY}_{later}", other.cohort)
        for earlier in kept:
            _add(reasons, _copies(part, earlier), f"{COPY}_{split}", earlier.cohort)
        kept.append(_without(part, list(reasons)))
        for row, (reason, other_cohort) in sorted(reasons.items()):
            place = {"cohort": part.cohort, "image_id": str(part.image_ids[row]), "split": split}
            yield {**place, "reason": reason, "other": other_cohort}


def _add(reasons: dict[int, tuple[str, str]], rows: np.ndarray, reason: str, other: str) -> None:
    for row in rows.tolist():
        reasons.setdefault(row, (reason, other))


def _shared_patients(part: Part, other: Part) -> np.ndarray:
    """Rows of `part` of patients that `other` has too."""
    if not share_patients(part.cohort, other.cohort):
        return np.empty(0, np.int64)
    return _of_patients(part, other.subjects)


def _copied_elsewhere(part: Part, other: Part, parts: Sequence[Part]) -> Iterator[np.ndarray]:
    """Patients with a copy in `other`, of the members that have the same identifiers as `part`."""
    for third in parts:
        if third.cohort not in (part.cohort, other.cohort) and share_patients(part.cohort, third.cohort):
            yield third.subjects[_copies(third, other)]


def _of_patients(part: Part, patients: np.ndarray) -> np.ndarray:
    """Rows of `part` of some patients."""
    return np.flatnonzero(np.isin(part.subjects.astype(str), patients.astype(str)))


def _copies(part: Part, other: Part) -> np.ndarray:
    """Rows of `part` that are copies of an image of `other`."""
    return np.unique(find_near_duplicates(part.hashes, other.hashes)[:, 0])


def _without(part: Part, rows: Sequence[int]) -> Part:
    """The rest of a part."""
    rest = np.setdiff1d(np.arange(len(part.image_ids)), np.array(rows, np.int64))
    return Part(part.cohort, part.split, part.image_ids[rest], part.subjects[rest], part.hashes[rest])
