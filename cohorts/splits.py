"""Splits of archives that publish none. A hash divides the patients, so a split does not change when an archive grows.

A family of splits is named by its shares of the patients, `80/10/10` for train, validate and test.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validate", "test")
OFFICIAL = "official"  # the family that the archive itself publishes


def patient_positions(cohort: str, family: str, patients: pd.Series) -> np.ndarray:
    """A number in [0, 1) for each row, the same for all rows of a patient: the SHA-256 of the three names."""
    import pandas as pd

    codes, distinct = pd.factorize(patients)
    digests = (hashlib.sha256(f"{cohort}/{family}/{patient}".encode()).digest() for patient in distinct)
    positions = np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in digests])
    return positions[codes] if len(codes) else np.empty(0)


def split_by_patient(cohort: str, family: str, patients: pd.Series) -> pd.Series:
    """train, validate or test for each row; `family` gives the shares, such as `70/15/15`."""
    import pandas as pd

    limits = np.cumsum([float(share) for share in family.split("/")])
    positions = patient_positions(cohort, family, patients) * limits[-1]
    return pd.Series(np.asarray(SPLITS, dtype=object)[np.searchsorted(limits, positions, side="right")], patients.index)


def carve_validation(cohort: str, patients: pd.Series, split: pd.Series, share: float) -> pd.Series:
    """`split` with a share of the train patients moved to validate, for archives that publish no validation set."""
    carved = patient_positions(cohort, "validate", patients) < share
    return split.mask((split == "train") & carved, "validate")


def in_later_split(patients: pd.Series, split: pd.Series) -> np.ndarray:
    """Whether the patient of a row is also in a later split than the row, in the order train, validate, test.

    Where the lists of an archive overlap, the later list is kept whole, and its patients leave the earlier lists.
    """
    positions = split.map({name: position for position, name in enumerate(SPLITS)})
    return (positions < positions.groupby(patients).transform("max")).to_numpy(bool)
