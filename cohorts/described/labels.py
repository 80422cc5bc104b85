"""Labels of the rows of a manifest: a column for each, or one column of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cohorts.described.description import LabelSource
from cohorts.described.tables import plain_text
from cohorts.described.words import read_label
from cohorts.errors import CohortError
from cohorts.labels import label_maps

if TYPE_CHECKING:
    import pandas as pd

NO_FINDING = "No Finding"
SEVERAL = re.compile(r"[;|]")


def read_labels(table: pd.DataFrame, source: LabelSource) -> tuple[pa.MapArray | None, np.ndarray]:
    """The labels of each row, None where none are described, and for each row whether a label of it is spoilt."""
    if source.columns:
        return _read_columns(table, source)
    if source.column:
        return _read_words(table, source), np.zeros(len(table), bool)
    return None, np.zeros(len(table), bool)


def describe_words(table: pd.DataFrame, source: LabelSource) -> Sequence[str]:
    """How many cells of words have none that is a label, as a sentence."""
    if not source.column:
        return ()
    words = _known_words(table, source)
    silent = sum(bool(cell) and not known for cell, known in zip(table[source.column], words, strict=True))
    if not silent:
        return ()
    return (
        f"{silent} rows have words in {source.column!r} of which none is in `labels: values`, and get no label; "
        "several words in a cell are separated by ; or |.",
    )


def _known_words(table: pd.DataFrame, source: LabelSource) -> list[set[str]]:
    """The words of each cell that are labels."""
    known = {plain_text(word) for word in source.values}
    return [{word.strip() for word in SEVERAL.split(cell)} & known for cell in table[source.column]]


def _read_columns(table: pd.DataFrame, source: LabelSource) -> tuple[pa.MapArray, np.ndarray]:
    """Numbers of columns; nothing is said where a cell is empty."""
    values = np.full((len(table), len(source.columns)), np.nan, np.float32)
    spoilt = np.zeros(len(table), bool)
    for place, column in enumerate(source.columns.values()):
        numbers = table[column].map(read_label).to_numpy(np.float32)
        spoilt |= np.isnan(numbers) & (table[column] != "").to_numpy()
        values[:, place] = numbers
    return label_maps(list(source.columns), values), spoilt


def _read_words(table: pd.DataFrame, source: LabelSource) -> pa.MapArray:
    """A label whose word is there is 1. What is not named is unknown, except that No Finding makes all others 0 and a
    finding makes No Finding 0. Words without a label say nothing."""
    labels = {plain_text(word): label for word, label in source.values.items()}
    words = _known_words(table, source)
    if len(table) and not any(words):
        raise CohortError(f"The column {source.column!r} has none of the words of `labels: values`; correct them.")
    names = list(dict.fromkeys(labels.values()))
    values = np.full((len(table), len(names)), np.nan, np.float32)
    for row, said in enumerate(words):
        present = {labels[word] for word in said}
        if present and NO_FINDING in names:
            values[row, names.index(NO_FINDING)] = 0
        if NO_FINDING in present:
            values[row] = 0
        values[row, [names.index(name) for name in present]] = 1
    return label_maps(names, values)
