"""What the audit of a dataset is computed from: scores, labels, patients, groups and cues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

UNKNOWN = ""  # the group of an image about which the archive does not say it
OTHERS = "the others"


@dataclass(frozen=True)
class ScoredSplit:
    """The images of a split: what the network says of them, and what is known."""

    scores: np.ndarray  # (n, findings) in 0..1
    labels: np.ndarray  # (n, findings) 1 present, 0 absent, nan unknown
    subjects: np.ndarray  # (n,) patients

    @property
    def patients(self) -> np.ndarray:
        """(n,) the patients as numbers from 0."""
        return np.unique(np.asarray(self.subjects, str), return_inverse=True)[1]


@dataclass(frozen=True)
class Examined:
    """A dataset with the scores of one network."""

    findings: Sequence[str]
    validate: ScoredSplit
    test: ScoredSplit
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)  # fact -> (n,) of the test images, or UNKNOWN
    cues: Mapping[str, np.ndarray] = field(default_factory=dict)  # label -> (n,) 1, 0 or nan of the test images


def divide(groups: np.ndarray) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Each group and what it is compared with: two names, and two masks (n,) of the images.

    Two groups are compared once. Of more, each is compared with all others. Images of unknown group are in neither.
    """
    names = [name for name in np.unique(groups).tolist() if name != UNKNOWN]
    known = groups != UNKNOWN
    for name in names[:1] if len(names) == 2 else names if len(names) > 2 else []:
        inside = groups == name
        yield name, names[1] if len(names) == 2 else OTHERS, inside, known & ~inside


def band_ages(ages: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    """The age band of each age (n,) in years; UNKNOWN where it is nan or no age of a person."""
    edges = [0, *bands]
    names = [f"{low} to {high - 1}" for low, high in pairwise(edges)] + [f"{edges[-1]} or more"]
    places = np.searchsorted(edges, np.nan_to_num(ages, nan=-1.0), side="right") - 1
    return np.where((ages >= 0) & (ages < 130), np.array(names)[places.clip(0)], UNKNOWN)
