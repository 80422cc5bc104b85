"""The `labels` map of a study: built from label columns that are selected by name, with uncertain labels decided.

Label columns have a different order in nearly every file of CheXpert and its labelers (train.csv has `Lung Opacity`
before `Lung Lesion`, chexpert-labeler the other way round), so labels are always selected by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from report_parsing.vocabulary import CHEXPERT_14, UNCERTAIN
from store.errors import SettingError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CHEXPERT_5",
    "CHEXPERT_14",
    "LABELS",
    "POLICIES",
    "UNCERTAIN",
    "are_spoilt",
    "decide_uncertain",
    "label_maps",
    "label_matrix",
    "label_names",
    "select_labels",
]

PRESENT, ABSENT = 1, 0
LABELS = pa.map_(pa.string(), pa.float32())
CHEXPERT_5 = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")  # of the competition
# What CheXpert's authors found best for each of the five (arXiv 1901.07031), as GLoRIA, MGCA and BenchX apply it.
CHEXPERT_5_DECISIONS = MappingProxyType(
    {"Atelectasis": 1.0, "Cardiomegaly": 0.0, "Consolidation": 0.0, "Edema": 1.0, "Pleural Effusion": 1.0}
)
# What an uncertain label of a name becomes; NaN is left out. `chexpert_5` leaves out those of other names.
POLICIES: MappingProxyType[str, Callable[[str], float]] = MappingProxyType(
    {
        "ignore": lambda name: np.nan,
        "zeros": lambda name: 0.0,
        "ones": lambda name: 1.0,
        "chexpert_5": lambda name: CHEXPERT_5_DECISIONS.get(name, np.nan),
    }
)


def label_maps(names: Sequence[str], values: np.ndarray) -> pa.MapArray:
    """Maps name -> value from a (rows, names) matrix; what is NaN (not mentioned) is left out of the map."""
    mentioned = ~np.isnan(values)
    offsets = np.concatenate([[0], np.cumsum(mentioned.sum(axis=1))]).astype(np.int32)
    keys = np.asarray(names, dtype=object)[np.nonzero(mentioned)[1]]
    items = values[mentioned].astype(np.float32)
    return pa.MapArray.from_arrays(offsets, pa.array(keys, pa.string()), pa.array(items, pa.float32()))


def are_spoilt(table: pd.DataFrame, names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """For each row whether one of the named columns, whose numbers are `values`, is neither empty nor 1, 0 or -1."""
    given = table[list(names)].fillna("").apply(lambda column: column.str.strip() != "").to_numpy(bool)
    return np.asarray((given & ~np.isin(values, (PRESENT, ABSENT, UNCERTAIN))).any(axis=1))


def label_names(labels: pa.Array | pa.ChunkedArray) -> list[str]:
    """Every label that a row mentions, sorted."""
    return sorted(pc.unique(_entries(labels)[2]).to_pylist())


def label_matrix(labels: pa.Array | pa.ChunkedArray, names: Sequence[str], blank: float = np.nan) -> np.ndarray:
    """(rows, names) float32 of the named labels, `blank` where a row does not mention one (0: blank as absent)."""
    _, rows, keys, items = _entries(labels)
    matrix = np.full((len(labels), len(names)), blank, np.float32)
    columns = pc.index_in(keys, pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    named = ~np.isnan(columns.astype(float))
    matrix[rows[named], columns[named].astype(np.int64)] = items[named]
    return matrix


def select_labels(labels: pa.Array | pa.ChunkedArray, names: Sequence[str]) -> pa.MapArray:
    """The maps with the named labels alone; a row that mentions none of them has an empty map."""
    compact, rows, keys, items = _entries(labels)
    return _maps(
        compact, rows, keys, items, pc.is_in(keys, pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
    )


def decide_uncertain(labels: pa.Array | pa.ChunkedArray, policy: str) -> pa.MapArray:
    """The maps with every -1 replaced as one of POLICIES says, or left out; ValueError for another policy."""
    if policy not in POLICIES:
        raise SettingError(f"There is no policy {policy!r} for uncertain labels; choose {', '.join(POLICIES)}.")
    compact, rows, keys, items = _entries(labels)
    codes = keys.dictionary_encode()
    decisions = np.array([POLICIES[policy](name) for name in codes.dictionary.to_pylist()], np.float32)
    uncertain = items == UNCERTAIN
    items = items.copy()
    items[uncertain] = decisions[codes.indices.to_numpy()[uncertain]]
    return _maps(compact, rows, keys, items, ~np.isnan(items))


def _entries(labels: pa.Array | pa.ChunkedArray) -> tuple[pa.MapArray, np.ndarray, pa.Array, np.ndarray]:
    """The maps without gaps between them, and of each entry its row, its name and its value."""
    whole = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
    compact = whole.take(pa.array(np.arange(len(whole))))
    rows = np.repeat(np.arange(len(compact)), np.diff(compact.offsets.to_numpy()))
    return compact, rows, compact.keys, compact.items.to_numpy()


def _maps(compact: pa.MapArray, rows: np.ndarray, keys: pa.Array, items: np.ndarray, kept: np.ndarray) -> pa.MapArray:
    """Maps of the kept entries; a row that was null stays null."""
    counts = np.bincount(rows[kept], minlength=len(compact))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.MapArray.from_arrays(
        pa.array(offsets), keys.filter(pa.array(kept)), pa.array(items[kept], pa.float32()), mask=compact.is_null()
    )
