"""Which pairs meet in a step, and what a step sees of them: a function of seed and step alone, so resuming is exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shards.reader import ShardData, ShardReader
from training.config import TrainingConfig, TrainingError


class TrainingData:
    """The pairs of the training split that mention at least one entity, in memory as 8-bit pixels and triplets."""

    def __init__(self, data: ShardData, entities: int, positions: int) -> None:
        self.data = data
        self.shape = (positions, entities)
        self.rows = np.unique(data.triplets.row)
        order = np.argsort(data.triplets.row, kind="stable")
        self._triplets = [part[order] for part in data.triplets]
        self._starts = np.searchsorted(self._triplets[0], np.arange(len(data) + 1))

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def open(cls, config: TrainingConfig) -> TrainingData:
        """Read the training split of `config.shards`."""
        reader = ShardReader(Path(config.shards))
        if config.data_version and reader.manifest.digest != config.data_version:
            raise TrainingError(
                f"{config.shards} holds data version {reader.manifest.digest[:12]}, but this run was asked to use "
                f"{config.data_version[:12]}; build the configuration anew"
            )
        data = cls(reader.read("train"), len(reader.manifest.entities), len(reader.manifest.positions))
        if len(data) < config.batch_size:
            raise TrainingError(
                f"{config.shards} has {len(data)} training pairs with a triplet, fewer than one batch of "
                f"{config.batch_size}; lower `batch_size` or add studies"
            )
        return data

    def batch_rows(self, step: int, batch_size: int, seed: int) -> np.ndarray:
        """Rows of one step: each epoch is an exact permutation, its incomplete last batch is left out."""
        per_epoch = len(self) // batch_size
        epoch, index = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        return np.sort(self.rows[order[index * batch_size : (index + 1) * batch_size]])

    def images(self, rows: np.ndarray) -> Tensor:
        """8-bit (batch, 1, size, size)."""
        return torch.from_numpy(self.data.pixels[rows])[:, None]

    def targets(self, rows: np.ndarray) -> Tensor:
        """(batch, positions, entities) int8: 1 present, 0 absent, -1 not mentioned or uncertain; present wins."""
        matrix = np.full((len(rows), *self.shape), -1, np.int8)
        spans = [np.arange(self._starts[row], self._starts[row + 1]) for row in rows]
        batch = np.repeat(np.arange(len(rows)), [len(span) for span in spans])
        entity, position, exists = (part[np.concatenate(spans)] for part in self._triplets[1:])
        for value in (0, 1):
            said = exists == value
            matrix[batch[said], position[said], entity[said]] = value
        return torch.from_numpy(matrix)
