"""Trains a network inside a downstream task: a head, and the encoder below it where a task tunes it.

What is trained is what has `requires_grad`. A part of which nothing is trained stays in evaluation mode, so that batch
norms of a frozen encoder keep their statistics; in MGCA's segmentation and in GLoRIA's probe they drift. No image is
dropped from an epoch, as the last ones are in MedKLIP's code. The weights that stay are those of the best validation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW

from evaluation.errors import EvaluationError
from evaluation.inference import IndexedPixels
from training.optimizer import parameter_groups

OPTIMIZERS = {"adam": Adam, "adamw": AdamW}
UNKNOWN = -math.inf  # what a validation that cannot be scored counts as

Progress = Callable[[int, int], None]  # steps done, steps at most


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained; a task's configuration has fields of these names."""

    learning_rate: float  # constant
    optimizer: str = "adamw"  # or adam
    weight_decay: float = 0.0  # of matrices and kernels; biases and norms are left alone
    batch_size: int = 32
    epochs: int = 50
    patience: int = 10  # validations without a better one after which it ends; 0: it never ends early
    maximum_steps: int = 0  # in all; 0: as many as the epochs have
    validate_every: int = 0  # steps at least between two validations, which come after whole epochs

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise EvaluationError(f"optimizer is `{self.optimizer}`, but must be one of {', '.join(OPTIMIZERS)}.")
        if self.batch_size < 1 or self.epochs < 1:
            raise EvaluationError(
                f"batch_size is {self.batch_size} and epochs is {self.epochs}, but both must be at least 1."
            )

    @classmethod
    def of(cls, config: Any, **changes: Any) -> FitOptions:
        """Those of a task's configuration, some of them changed."""
        names = [field.name for field in fields(cls)]
        return cls(**{**{name: getattr(config, name) for name in names if hasattr(config, name)}, **changes})


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's random numbers (initialisation, dropout, augmentation) start from `seed`, and afterwards go on as before.

    On the CPU the same seed gives the same numbers; on a GPU some kernels add up in any order.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def own_patients(train: np.ndarray, validate: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Rows of the train split, given the patients (n,) of each split, whose patient neither of the others has."""
    if not len(test):
        raise EvaluationError("No image to score: the test split is empty.")
    rows = np.flatnonzero(~np.isin(train, np.concatenate([validate, test])))
    if not len(rows):
        raise EvaluationError("No image to train on: no patient of the label fraction is left in the train split.")
    return rows


def image_tensor(pixels: IndexedPixels, rows: np.ndarray, device: torch.device) -> Tensor:
    """(rows, 1, size, size) uint8 on the device."""
    return torch.from_numpy(np.ascontiguousarray(pixels[rows]))[:, None].to(device)


def fit(
    module: nn.Module,
    loss_of: Callable[[np.ndarray], Tensor],
    count: int,
    validate: Callable[[], float] | None,
    options: FitOptions,
    seed: int,
    progress: Progress | None = None,
) -> int:
    """Train `module` in place, and leave it in evaluation mode with the weights of its best validation.

    `loss_of` gives the scalar loss of some of the `count` images, whose indices are (batch,) int64. `validate` says how
    good the module is now, higher being better and nan counting as worst; it is called in evaluation mode, and
    without it (nothing to validate on) the last weights stay. The order of the images comes from `seed`; whatever else
    is random repeats from torch's generator, so call it within `seeded`. Returns the number of steps that were taken.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    optimizer = OPTIMIZERS[options.optimizer](
        parameter_groups(module, options.weight_decay), lr=options.learning_rate, fused=True
    )
    steps_of_epoch = math.ceil(count / options.batch_size)
    steps = min(options.epochs * steps_of_epoch, options.maximum_steps or math.inf)
    interval = steps_of_epoch * max(1, math.ceil(options.validate_every / steps_of_epoch))
    best = _Best(module)
    done = 0
    training_mode(module)
    for rows in _batches(count, steps_of_epoch, seed):
        loss = loss_of(rows)
        if not torch.isfinite(loss):
            raise EvaluationError(
                f"The loss is no finite number at step {done}: the model's own training diverged, or learning_rate, "
                f"{options.learning_rate:g}, is too high for it."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        if progress:
            progress(done, int(steps))
        if validate and (done % interval == 0 or done == steps):
            module.eval()
            best.offer(validate())
            if options.patience and best.since >= options.patience:
                break
            training_mode(module)
        if done == steps:
            break
    best.restore()
    module.eval()
    return done


def training_mode(module: nn.Module) -> None:
    """Train mode, but evaluation mode for every part that has weights of which none is trained."""
    module.train()
    for part in module.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()


def _batches(images: int, parts: int, seed: int) -> Iterator[np.ndarray]:
    """Epoch after epoch without end, each in a new order and in `parts` batches whose sizes differ by one at most.

    A last batch of one image would be the end of a batch norm.
    """
    rng = np.random.default_rng(seed)
    while True:
        yield from np.array_split(rng.permutation(images), parts)


class _Best:
    """The best weights so far."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.value, self.since = module, UNKNOWN, 0
        self.frozen = {name for name, weight in module.named_parameters() if not weight.requires_grad}
        self.state: dict[str, Tensor] = {}

    def offer(self, value: float) -> None:
        """What the present weights are worth; the first of equals stays."""
        value = UNKNOWN if math.isnan(value) else value
        if value > self.value or not self.state:
            self.value, self.since = value, 0
            state = self.module.state_dict().items()
            self.state = {name: tensor.clone() for name, tensor in state if name not in self.frozen}
        else:
            self.since += 1

    def restore(self) -> None:
        self.module.load_state_dict(self.state, strict=False)
