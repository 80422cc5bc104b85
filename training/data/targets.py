"""The triplets of reports as label matrices, of whole reports (MedKLIP) and of single sentences (MedCLIP)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from models.method import Batch
from models.text.laterality import mirror_positions
from shards.reader import flat_triplets
from shards.schema import NO_SENTENCE
from training.errors import TrainingError

NOWHERE = -1  # mirror image of a position that has none
UNMENTIONED = -1  # in the matrices
DOUBTED = -1  # in the triplets


class ReportTargets:
    """The triplets of every row; those of a mirrored image are on the other side.

    `uncertain` is what an uncertain finding is in the matrices.
    """

    def __init__(
        self, triplets: pa.ChunkedArray, entities: Sequence[str], positions: Sequence[str], uncertain: int = UNMENTIONED
    ) -> None:
        self.shape = (len(positions), len(entities))
        self.uncertain = uncertain
        found = flat_triplets(triplets.combine_chunks())
        self._starts = np.searchsorted(found.row, np.arange(len(triplets) + 1))
        mirrors = np.array([NOWHERE if index is None else index for index in mirror_positions(positions)])
        self._entity, self._exists, self._sentence = found.entity, found.exists, found.sentence
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
        """The images with (batch, positions, entities) int8 targets, see `matrices`."""
        return Batch(images, targets=self.matrices(rows, mirrored))

    def matrices(self, rows: np.ndarray, mirrored: np.ndarray, sentences: np.ndarray | None = None) -> Tensor:
        """(rows, positions, entities) int8: 1 is present, 0 absent, -1 not mentioned, and `uncertain` uncertain.

        Present wins over uncertain, if that is told, and either over absent.

        With `sentences` (rows,) only what these sentences of the reports say; NO_SENTENCE stands for all of them.
        """
        matrix = np.full((len(rows), *self.shape), UNMENTIONED, np.int8)
        counts = self._starts[rows + 1] - self._starts[rows]
        batch = np.repeat(np.arange(len(rows)), counts)
        places = np.arange(len(batch)) - np.repeat(np.cumsum(counts) - counts, counts) + self._starts[rows][batch]
        entity, exists = self._entity[places], self._exists[places]
        position = self._position[mirrored[batch].astype(int), places]
        said = np.ones(len(batch), bool)
        if sentences is not None:
            said = (self._sentence[places] == sentences[batch]) | (sentences[batch] == NO_SENTENCE)
        values = {0: 0, DOUBTED: self.uncertain, 1: 1} if self.uncertain != UNMENTIONED else {0: 0, 1: 1}
        for found, value in values.items():
            chosen = said & (exists == found)
            matrix[batch[chosen], position[chosen], entity[chosen]] = value
        return torch.from_numpy(matrix)

    def expect_sentences(self) -> None:
        """Raise TrainingError where it is not known which sentence a triplet is from."""
        if (self._sentence == NO_SENTENCE).any():
            raise TrainingError(
                "the triplets come from a RadGraph file, which does not tell the sentences of the reports apart; this "
                "method needs the findings of single sentences: leave `radgraph` of the asset `triplets` empty"
            )
