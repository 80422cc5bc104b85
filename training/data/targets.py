"""The triplets of reports as label matrices, for methods that read no text (MedKLIP)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from models.method import Batch
from models.text.laterality import mirror_positions
from shards.reader import flat_triplets

NOWHERE = -1  # mirror image of a position that has none


class ReportTargets:
    """The triplets of every row; those of a mirrored image are on the other side."""

    def __init__(self, triplets: pa.ChunkedArray, entities: Sequence[str], positions: Sequence[str]) -> None:
        self.shape = (len(positions), len(entities))
        found = flat_triplets(triplets.combine_chunks())
        self._starts = np.searchsorted(found.row, np.arange(len(triplets) + 1))
        mirrors = np.array([NOWHERE if index is None else index for index in mirror_positions(positions)])
        self._entity, self._exists = found.entity, found.exists
        self._position = np.stack([found.position, mirrors[found.position]])
        self._sided = np.bincount(found.row, self._position[1] == NOWHERE, len(triplets)) > 0

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: whether there is a triplet at all."""
        return np.diff(self._starts) > 0

    def sample(self, rows: np.ndarray, _: np.random.Generator) -> np.ndarray:
        """What a step reads of `rows`: all there is."""
        return rows

    def can_mirror(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) bool: whether all positions have a mirror image."""
        return ~self._sided[rows]

    def build_batch(self, images: Tensor, rows: np.ndarray, mirrored: np.ndarray) -> Batch:
        """The images with (batch, positions, entities) int8 targets.

        1 is present, 0 absent, -1 not mentioned or uncertain; present wins.
        """
        matrix = np.full((len(rows), *self.shape), -1, np.int8)
        counts = self._starts[rows + 1] - self._starts[rows]
        batch = np.repeat(np.arange(len(rows)), counts)
        places = np.arange(len(batch)) - np.repeat(np.cumsum(counts) - counts, counts) + self._starts[rows][batch]
        entity, exists = self._entity[places], self._exists[places]
        position = self._position[mirrored[batch].astype(int), places]
        for value in (0, 1):
            chosen = exists == value
            matrix[batch[chosen], position[chosen], entity[chosen]] = value
        return Batch(images, targets=torch.from_numpy(matrix))
