"""Checkpoints: safetensors for weights, everything else loadable without executing code, each complete or absent.

A checkpoint is a folder `checkpoints/step-00000200` with the weights, the state of the optimizer and of the loop, and
`checkpoint.json`: what made it, and the digests of the other two files. The last two are kept.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.distributed import rank
from models.method import Method
from models.saved import TRAINED
from store.atomic import replacing
from store.digests import file_digest
from training.errors import TrainingError
from training.parallel.sharding import gather_whole, take_part_like
from training.state.origin import Origin

logger = logging.getLogger(__name__)

BEST, LAST = "best.safetensors", "last.safetensors"  # of a run whose result is the best: `keeps_best`
STATE, CARD = "state.pt", "checkpoint.json"
KEPT = 2  # checkpoints, so that one is left where the last is damaged
COMPLETE = re.compile(r"step-\d+")


def save_weights(method: Method, path: Path) -> None:
    """Write the weights atomically: every process of a run calls this, and the first one writes."""
    weights = gather_whole(method.state_dict())
    if rank() == 0:
        with explain_write_errors(path):
            _write_weights(weights, path)


def copy_weights(source: Path, path: Path) -> None:
    """Write the file `source` once more, atomically."""
    with explain_write_errors(path), replacing(path) as partial:
        shutil.copyfile(source, partial)


def _write_weights(weights: dict[str, torch.Tensor], path: Path) -> str:
    """Returns the digest of the file."""
    with replacing(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)
    return file_digest(path)


def save_checkpoint(
    output: Path, origin: Origin, step: int, method: Method, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write all that the run is after `step` steps as a new folder, then drop older ones.

    `state` is the loop's own: numbers and tensors in dicts and lists. Where the disk is full the older ones stay.
    Every process of a run calls this, and the first one writes; the files are the same however many there are.
    """
    weights, state = (
        gather_whole(method.state_dict()),
        {"optimizer": gather_whole(optimizer.state_dict()), "loop": state},
    )
    if rank() != 0:
        return
    folder = output / "checkpoints" / f"step-{step:08d}"
    partial = folder.with_name(folder.name + ".partial")
    try:
        with explain_write_errors(folder):
            _write_checkpoint(partial, origin, step, weights, state)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one, done again
            partial.rename(folder)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for older in complete_checkpoints(output)[:-KEPT]:
        shutil.rmtree(older)


def _write_checkpoint(
    folder: Path, origin: Origin, step: int, weights: dict[str, torch.Tensor], state: dict[str, Any]
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digests = {TRAINED: _write_weights(weights, folder / TRAINED)}
    with replacing(folder / STATE) as path, path.open("wb") as file:  # given a path, torch would hide why it failed
        torch.save(state, file)
    digests[STATE] = file_digest(folder / STATE)
    card = {"step": step, "origin": json.loads(origin.as_json()), "digests": digests}
    with replacing(folder / CARD) as path:
        path.write_text(json.dumps(card, indent=1), encoding="utf-8")
    _flush_folder(folder)


def complete_checkpoints(output: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in (output / "checkpoints").glob("step-*") if COMPLETE.fullmatch(path.name))


def resume(
    output: Path, origin: Origin, method: Method, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Load the last checkpoint, or the one before where that is damaged.

    Returns the number of steps done and the loop's own state; 0 and {} where there is no checkpoint. Raises
    TrainingError where something else made it, or where none can be read.
    """
    damage = ""
    for folder in reversed(complete_checkpoints(output)):
        try:
            step, weights, state = _read_checkpoint(folder, origin)
        except _DamagedError as error:
            damage = f"{folder} is damaged ({error})"
            logger.warning("%s; it is passed over", damage)
            continue
        _load(method, optimizer, weights, state["optimizer"])
        return step, state["loop"]
    if damage:
        raise TrainingError(f"{damage}, and there is none before it; delete {output / 'checkpoints'} to start anew")
    return 0, {}


def _load(
    method: Method, optimizer: torch.optim.Optimizer, weights: dict[str, torch.Tensor], state: dict[str, Any]
) -> None:
    """Whole tensors into what may be sharded; an optimizer's state is numbered as its parameters are."""
    likes = method.state_dict()
    method.load_state_dict({name: take_part_like(tensor, likes.get(name, tensor)) for name, tensor in weights.items()})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in state["state"].items():
        for name, value in values.items():
            if torch.is_tensor(value) and value.shape == parameters[number].shape:
                values[name] = take_part_like(value, parameters[number])
    optimizer.load_state_dict(state)


class _DamagedError(Exception):
    pass


def _read_checkpoint(folder: Path, origin: Origin) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        step, made_by, digests = int(card["step"]), json.dumps(card["origin"]), dict(card["digests"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"{CARD} cannot be read") from error
    for name in (TRAINED, STATE):
        if not (folder / name).is_file() or file_digest(folder / name) != digests.get(name):
            raise _DamagedError(f"{name} is not what was written")
    origin.expect(made_by, folder)
    return step, load_file(folder / TRAINED), torch.load(folder / STATE, map_location="cpu", weights_only=True)


@contextmanager
def explain_write_errors(path: Path) -> Iterator[None]:
    """Raise TrainingError with the reason why `path` cannot be written; libraries report a full disk differently."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{path} cannot be written: {_reason(error)}; what was written before is whole, so make room and give the "
            "same command again"
        ) from error


def _reason(error: BaseException) -> str:
    """The system's reason, which torch hides behind an error of its own and safetensors puts into text."""
    cause: BaseException | None = error
    while cause is not None:
        code = cause.errno if isinstance(cause, OSError) else _code_in_text(str(cause))
        if code:
            return os.strerror(code)
        cause = cause.__cause__ or cause.__context__
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _code_in_text(text: str) -> int:
    found = re.search(r"\(os error (\d+)\)", text)
    return int(found[1]) if found else 0


def check_same_run(output: Path, origin: Origin) -> None:
    """A folder belongs to one origin: another one is refused."""
    path = output / "origin.json"
    if path.exists():
        origin.expect(path.read_text(encoding="utf-8"), output)
    else:
        write_text(path, origin.as_json())


def write_text(path: Path, text: str) -> None:
    """Write beside the name, then rename."""
    with explain_write_errors(path), replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _flush_folder(folder: Path) -> None:
    """So that a power cut does not undo the rename."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
