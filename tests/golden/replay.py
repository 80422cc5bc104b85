"""Replays a training of the authors' code through our loop: its step, optimizer, schedule and guards."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from models.method import Batch, Method, Tokens
from training.config import TrainingConfig
from training.data.pairs import Pairs
from training.loop import Run
from training.objective import Objective
from training.optimizer import build_optimizer


class Replay(Run):
    """A run on given batches, in the order of the authors', from their weights and with our loop."""

    def __init__(self, config: TrainingConfig, method: Method, batches: list[Batch], per_epoch: int) -> None:
        self.config, self.method, self.device = config, method.train(), torch.device("cpu")
        self.precision, self.output = "fp32", None
        self.batches, self.per_epoch, self.steps = batches, per_epoch, config.max_steps
        self.step, self.losses = 0, []
        self.shared = self.objective = Objective(self.method)
        self.optimizer = build_optimizer(self.method, config)
        self.data = SimpleNamespace(image_ids=lambda rows: [])
        self.records: dict[str, list[float]] = {}
        self.validated: list[float] = []  # validation losses of the coming epochs

    def on_device(self, pairs: Pairs) -> Batch:
        """The batch as it is: the files are of trainings without augmentation."""
        return pairs.batch

    def run(self, steps: int) -> dict[str, np.ndarray]:
        """Losses, terms, learning rates and gradient norms of the first steps."""
        pairs = iter(
            [Pairs(batch, torch.zeros(len(batch), dtype=torch.bool), np.arange(len(batch))) for batch in self.batches]
        )
        log = SimpleNamespace(time_waiting=nullcontext, hardware=object(), add=self.record)
        while self.step < steps:
            self.take_step(pairs, log)
            self.step += 1
            if self.step % self.per_epoch == 0 and self.validated:
                self.losses.append(self.validated.pop(0))
        return {name: np.array(values) for name, values in self.records.items()}

    def record(self, samples: int, terms: dict[str, float], facts: dict[str, float]) -> None:
        """What the loop reports of a step."""
        for name, value in {**terms, **facts}.items():
            self.records.setdefault(name, []).append(value)


def images_of(arrays: dict[str, np.ndarray], rows: np.ndarray) -> Tensor:
    """(batch, 1, height, width) uint8."""
    return torch.from_numpy(arrays["in.images"][rows])[:, None]


def tokens_of(arrays: dict[str, np.ndarray], rows: np.ndarray) -> Tokens:
    """Token ids and which of them are of the text."""
    return Tokens(torch.from_numpy(arrays["in.ids"][rows]).long(), torch.from_numpy(arrays["in.mask"][rows]).bool())


def variant_of(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The arrays of a variant, its own before the shared ones."""
    own = {key[len(name) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{name}.")}
    return {**arrays, **own}
