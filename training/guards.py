"""What ends a run early, each with its sentence: values that are not finite, too little memory, a signal."""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import NamedTuple

import torch
import torch.distributed as dist

from models.distributed import rank, world_size
from training.config import TrainingConfig
from training.errors import TrainingError
from training.state.checkpoint import write_text

BAD_BATCH = "bad_batch.json"
ECHO_SECONDS = 2.0  # in which a repeated signal is the first one again, passed on by a launcher
ONE_PAIR = "Expected more than 1 value per channel"  # torch's words
NO_MEMORY = re.compile(r"can't allocate memory|out of memory|Unable to allocate", re.IGNORECASE)  # torch's, numpy's


class StoppedError(Exception):
    """Somebody asked the run to stop; its checkpoint is written. `status` is the exit status: 128 + signal."""

    def __init__(self, step: int, signal_number: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"stopped by {name} after step {step}, whose checkpoint is written; start it again to go on")
        self.status = 128 + signal_number


class Wish(NamedTuple):
    """What any process of a run was asked for since the last step."""

    stop: int = 0  # the signal; 0 for none
    checkpoint: bool = False


class StopRequest:
    """Remembers signals, so that the run can follow them between two steps.

    SIGTERM and SIGINT end it with a checkpoint; a second one ends it at once. Ctrl-C reaches the whole group of
    processes and is also passed on by the launcher: this counts as one signal. SIGUSR1 writes a checkpoint, and the run
    goes on: schedulers send it before they end a job.
    """

    def __init__(self) -> None:
        self._signal = 0
        self._since = 0.0
        self._checkpoint = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the time of the block."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, self._note_checkpoint)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._signal and monotonic() - self._since > ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        elif not self._signal:
            self._signal, self._since = number, monotonic()

    def _note_checkpoint(self, _: int, __: FrameType | None) -> None:
        self._checkpoint = True

    def agree(self, device: torch.device) -> Wish:
        """What any process of the run was asked for: all have to follow after the same step."""
        own = Wish(self._signal, self._checkpoint)
        if own.checkpoint:  # a signal that comes here is answered by the same checkpoint
            self._checkpoint = False
        if world_size() == 1:
            return own
        heard = torch.tensor([own.stop, int(own.checkpoint)], device=device)
        dist.all_reduce(heard, dist.ReduceOp.MAX)
        number, checkpoint = heard.tolist()
        return Wish(number, bool(checkpoint))


def expect_finite(
    output: Path, step: int, terms: Mapping[str, float], gradient_norm: float, image_ids: Callable[[], Sequence[str]]
) -> None:
    """Raise TrainingError if a loss term or the gradient is nan or infinite, and keep the ids of the batch's images.

    To be called before the update, which would spoil the weights.
    """
    values = {**{f"loss term `{name}`": value for name, value in terms.items()}, "norm of the gradient": gradient_norm}
    bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if not bad:
        return
    path = output / (BAD_BATCH if rank() == 0 else f"{rank()}.{BAD_BATCH}")  # every process keeps its part of the batch
    write_text(path, json.dumps({"step": step, "problems": bad, "image_ids": list(image_ids())}, indent=1))
    raise TrainingError(
        f"the {bad[0]} at step {step}: look at the images of its batch, named in {path}, or lower `learning_rate`, "
        "set `clip_norm`, or set `precision` to fp32"
    )


@contextmanager
def memory_guard(config: TrainingConfig) -> Iterator[None]:
    """Turn out-of-memory errors of torch and numpy into one sentence that names the batch size to try."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            raise TrainingError(_smaller_batch(config)) from error
        raise


@contextmanager
def batch_norm_guard() -> Iterator[None]:
    """Turn the error of a batch norm that is given one pair into one sentence."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(ONE_PAIR):
            raise
        raise TrainingError(
            "a batch norm of this method was given one pair, and needs several: raise `batch_size`, lower "
            "`micro_batches`, or set `last_batch` to drop"
        ) from error


def _smaller_batch(config: TrainingConfig) -> str:
    """What to change so that a step takes about half the memory."""
    if config.batch_size == 1:
        return "the memory does not hold one image: lower `input_size` or choose a smaller encoder"
    per_part = config.batch_size // config.micro_batches
    factor = next((n for n in range(2, per_part + 1) if per_part % n == 0), 0)
    more = factor * config.micro_batches
    keep = f", or `micro_batches` to {more}, which keeps the batch and its gradients" if factor else ""
    return (
        f"a batch of {config.batch_size} does not fit into the memory: "
        f"set `batch_size` to {config.batch_size // 2}{keep}"
    )
