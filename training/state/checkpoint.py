"""Checkpoints: safetensors for weights, everything else loadable without executing code, each complete or absent.

A checkpoint is a folder `checkpoints/step-00000200` with the weights, those of the lowest validation loss where the
run keeps them, the state of the optimizer and of the loop, and `checkpoint.json`: what made it, and the digests of the
other files. The last two are kept. A run that has ended can be finished again from its last checkpoint alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.distributed import rank
from models.encoders.weight_files import expect_no_bomb
from models.method import Method
from models.run_files import BEST, METRICS, ORIGIN, RESULT, TRAINED
from models.run_files import CHECKPOINT as CARD
from store.atomic import PARTIAL, replacing
from store.digests import file_digest, known_digest
from store.errors import DamageError
from store.remote import mirror
from store.seals import expect_intact, is_intact, seal, sealing, set_aside, write_sealed_json
from training.errors import TrainingError
from training.parallel.exchange import bring_newest, from_first
from training.parallel.group import Group
from training.parallel.sharding import gather_whole, take_part_like
from training.state.origin import Origin

logger = logging.getLogger(__name__)

STATE = "state.pt"
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
    output: Path,
    origin: Origin,
    step: int,
    method: Method,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    best: bool = False,
    expect_own: Callable[[], None] = lambda: None,
) -> None:
    """Write all that the run is after `step` steps as a new folder, then drop older ones.

    `state` is the loop's own: numbers, texts and tensors in dicts and lists. With `best` the weights of the lowest
    validation loss are kept too. Where the disk is full the older ones stay. Every process of a run calls this, and the
    first one writes; the files are the same however many there are. `expect_own` raises where the folder has another
    writer by now.
    """
    weights, state = (
        gather_whole(method.state_dict()),
        {"optimizer": gather_whole(optimizer.state_dict()), "loop": state},
    )
    if rank() != 0:
        return
    folder = output / "checkpoints" / f"step-{step:08d}"
    partial = folder.with_name(folder.name + PARTIAL)
    try:
        with explain_write_errors(folder):
            _write_checkpoint(partial, origin, step, weights, state, output / BEST if best else None)
            expect_own()
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one, done again
            partial.rename(folder)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    older = tuple(complete_checkpoints(output)[:-KEPT])
    for one in older:
        shutil.rmtree(one)
    mirror.publish(folder, output / METRICS, gone=older)


def _write_checkpoint(
    folder: Path,
    origin: Origin,
    step: int,
    weights: dict[str, torch.Tensor],
    state: dict[str, Any],
    best: Path | None,
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digests = {TRAINED: _write_weights(weights, folder / TRAINED)}
    if best is not None:
        again = "give the same command again: the run goes on from its last checkpoint."
        copy_weights(expect_intact(best, again), folder / BEST)
        digests[BEST] = file_digest(folder / BEST)
    with replacing(folder / STATE) as path, path.open("wb") as file:  # given a path, torch would hide why it failed
        torch.save(state, file)
    digests[STATE] = file_digest(folder / STATE)
    write_sealed_json(folder / CARD, {"step": step, "origin": json.loads(origin.as_json()), "digests": digests})
    _flush_folder(folder)


def complete_checkpoints(output: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in (output / "checkpoints").glob("step-*") if COMPLETE.fullmatch(path.name))


def resume(
    output: Path, origin: Origin, method: Method, optimizer: torch.optim.Optimizer, group: Group
) -> tuple[int, dict[str, Any]]:
    """Load the last checkpoint of this run, or the one before where that is damaged or of another run.

    Every process of a run calls this. The first one reads, and gives the others what they need; where the last
    checkpoint lies on another host, it is brought to the first process before. Returns the number of steps done and the
    loop's own state; 0 and {} where there is no checkpoint.
    """
    bring_newest(output / "checkpoints", max((path.name for path in complete_checkpoints(output)), default=""), group)
    found = group.together(lambda: _read_last(output, origin) if rank() == 0 else None)
    found = from_first(found, group.device)
    if found is None:
        return 0, {}
    step, weights, state = found
    _load(method, optimizer, weights, state["optimizer"])
    return step, state["loop"]


def _read_last(output: Path, origin: Origin) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
    for folder in reversed(complete_checkpoints(output)):
        try:
            found = _read_checkpoint(folder, origin)
        except _DamagedError as error:
            logger.warning("%s is damaged (%s); it is passed over", folder, error)
            continue
        if (folder / BEST).is_file():
            copy_weights(folder / BEST, output / BEST)
            seal(output / BEST)
        return found
    return None


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
    mirror.bring_whole(folder)
    card = _read_card(folder)
    for name in card["digests"]:
        if not (folder / name).is_file() or file_digest(folder / name) != card["digests"][name]:
            raise _DamagedError(f"{name} is not what was written")
    if _as_line(card["origin"]) != origin.as_json():
        raise _DamagedError("it is of another run")
    try:
        expect_no_bomb(folder / STATE)
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        weights = load_file(folder / TRAINED)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of files that were replaced, with their digests
        raise _DamagedError(f"its files hold no state of a training: {type(error).__name__}") from error
    if not isinstance(state, dict) or not {"optimizer", "loop"} <= state.keys():
        raise _DamagedError(f"{STATE} holds no state of a training")
    return int(card["step"]), weights, state


def _read_card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(expect_intact(folder / CARD, "", keep=True).read_text(encoding="utf-8"))
    except (DamageError, ValueError, RecursionError):
        raise _DamagedError(f"{CARD} is not what was written") from None
    if not isinstance(card, dict) or [type(card.get(name)) for name in ("step", "origin", "digests")] != [
        int,
        dict,
        dict,
    ]:
        raise _DamagedError(f"{CARD} is no card of a checkpoint")
    if not {STATE, TRAINED} <= card["digests"].keys() or any("/" in name for name in card["digests"]):
        raise _DamagedError(f"{CARD} names other files than those of a checkpoint")
    return card


def _as_line(origin: dict[str, Any]) -> str:
    return json.dumps(origin, sort_keys=True)


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


def remove_strays(output: Path) -> None:
    """Remove what a killed process had not written to its end. To be called by who holds the folder's lock."""
    for path in [*output.glob(f"*{PARTIAL}"), *(output / "checkpoints").glob(f"*{PARTIAL}")]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def check_same_run(output: Path, origin: Origin) -> None:
    """A folder belongs to one origin: another one is refused.

    The checkpoints know it too. Where they are of this run, an `origin.json` that is damaged or of another run is made
    again, and so is a `result.json` of another run.
    """
    path, own = output / ORIGIN, origin.as_json()
    found = path.read_text(encoding="utf-8") if is_intact(path) else ""
    if found != own:
        known = [_as_line(made_by) for made_by in _origins(output)]
        if own not in known:
            for other in filter(None, [found, *known]):
                origin.expect(other, output)
            _expect_result_of(own, output)
        if path.exists() and path.read_bytes() != own.encode():
            logger.warning("%s is damaged; it is set aside as %s and made again", path, set_aside(path).name)
        with explain_write_errors(path), sealing(path) as partial:
            partial.write_text(own, encoding="utf-8")
    if _result_origin(output) not in ("", known_digest(path)):
        result = output / RESULT
        logger.warning("%s is of another run; it is set aside as %s and made again", result, set_aside(result).name)


def _origins(output: Path) -> Iterator[dict[str, Any]]:
    """What made the checkpoints that say so."""
    for folder in complete_checkpoints(output):
        with suppress(_DamagedError):
            yield _read_card(folder)["origin"]


def _result_origin(output: Path) -> str:
    """The digest of `origin.json` that an intact result has; empty where there is none."""
    path = output / RESULT
    return str(json.loads(path.read_text(encoding="utf-8")).get("origin_digest", "")) if is_intact(path) else ""


def _expect_result_of(own: str, output: Path) -> None:
    """Raise TrainingError where nothing but the result is left to say that the folder is of another run."""
    if _result_origin(output) not in ("", hashlib.sha256(own.encode()).hexdigest()):
        raise TrainingError(f"{output} belongs to another run; choose another output folder or delete this one")


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
