"""Steps from the rows of a metadata file to studies and rejects that most archives need, a column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from cohorts.paths import are_files, stays_inside

PLAIN_NAMES = r"[0-9A-Za-z][0-9A-Za-z._-]*"  # an identifier that can be a part of a path and cannot leave it


def number_duplicates(ids: pd.Series) -> pd.Series:
    """Ids in which every repetition gets a name of its own: `<id>#2` and so on."""
    while (again := ids.duplicated()).any():
        ids = ids.where(~again, ids + "#" + (ids.groupby(ids).cumcount() + 1).astype(str))
    return ids


def first_reasons(conditions: Mapping[str, pd.Series | np.ndarray], rows: int) -> np.ndarray:
    """For each of `rows` the reason whose condition holds first, as text, empty where none does."""
    reasons = np.full(rows, "", dtype=object)
    for reason, condition in conditions.items():
        reasons[(reasons == "") & np.asarray(condition, dtype=bool)] = reason
    return reasons


def look_for_files(root: Path, paths: pd.Series, reasons: np.ndarray, reason: str = "missing_file") -> None:
    """Put `reason` against the rows that have none yet and whose file is not there, `path_outside_root` against
    those whose path climbs out of the root. Links are followed later, when a file is opened."""
    open_rows = np.flatnonzero(reasons == "")
    codes, distinct = pd.factorize(paths.to_numpy()[open_rows])
    climbs = np.array([not stays_inside(path) for path in distinct], dtype=bool)
    present = are_files(root, list(distinct))
    found = np.where(climbs, "path_outside_root", np.where(present, "", reason)).astype(object)
    reasons[open_rows] = found[codes]


def list_column(
    ids: pd.Series, items: pd.DataFrame, item: pa.StructType, annotated: pd.Series | np.ndarray | None = None
) -> pa.ListArray:
    """`items` (image_id and the fields of `item`) as one list for each of `ids`, in the order of `items`.

    A row without items is null, or an empty list where `annotated` says that somebody looked and found none.
    """
    rows = pd.Index(ids).get_indexer(pd.Index(items["image_id"]))
    order = np.argsort(rows, kind="stable")[(rows < 0).sum() :]
    counts = np.bincount(rows[order], minlength=len(ids))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    fields = [pa.array(items[field.name].to_numpy()[order], field.type) for field in item]
    values = pa.StructArray.from_arrays(fields, fields=list(item))
    looked = np.zeros(len(ids), bool) if annotated is None else np.asarray(annotated, bool)
    absent = pa.array((counts == 0) & ~looked)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, pa.list_(item), mask=absent)
