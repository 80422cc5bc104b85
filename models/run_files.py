"""The files of a run's folder, and whether they are those that the run wrote. Imports no torch.

`result.json` is written last and is sealed. It holds the digests of the other files, so that neither damage nor a file
of another run passes for one of the run's own. `checkpoint.json` does the same for the files of a checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from store.digests import known_digest
from store.errors import DamageError
from store.remote import mirror
from store.seals import expect_intact, is_sealed, set_aside

TRAINED, UNTRAINED = "weights.safetensors", "untrained.safetensors"
BEST, LAST = "best.safetensors", "last.safetensors"  # of a run whose result is the best: `keeps_best`
CARD, ORIGIN, METRICS, RESULT = "model.json", "origin.json", "metrics.jsonl", "result.json"
IMPORTED = "imported"  # in origin.json and result.json: the released file that the weights are from
CHECKPOINT = "checkpoint.json"  # of a checkpoint's folder

DIGESTS = {
    "checkpoint_digest": TRAINED,
    "untrained_digest": UNTRAINED,
    "best_digest": BEST,
    "last_digest": LAST,
    "model_digest": CARD,
    "origin_digest": ORIGIN,
    "metrics_digest": METRICS,
}  # names in result.json -> files
WEIGHTS = (TRAINED, UNTRAINED, BEST, LAST)  # never set aside: a copy can replace them, another training cannot

AGAIN = "give the command that trained the run again: what is lost is made again from its last checkpoint."


def read_result(folder: Path, remedy: str = AGAIN) -> dict[str, Any]:
    """What a finished run wrote about itself.

    Raises:
        DamageError: `result.json` is missing, damaged or that of another run; the message ends with `remedy`.
    """
    path = expect_intact(folder / RESULT, remedy)
    result = _read_object(path, remedy)
    origin = folder / ORIGIN
    if origin.is_file() and known_digest(origin) != result.get("origin_digest"):
        raise DamageError(f"{path} and the {ORIGIN} beside it are not of the same run; {remedy}")
    return result


def expect_recorded(path: Path) -> Path:
    """`path`, a file of a run's folder or of a checkpoint, whose bytes are those that were recorded.

    Raises:
        DamageError: they are not. Weights stay where they are, other files are set aside.
    """
    if path.with_name(CHECKPOINT).exists():
        other = "choose another checkpoint."
        card = _read_object(expect_intact(path.with_name(CHECKPOINT), other, keep=True), other)
        recorded = dict(card.get("digests") or {}).get(path.name)
    elif path.with_name(RESULT).exists():
        recorded = digests_of(read_result(path.parent)).get(path.name)
    else:  # of a run that is not finished
        return expect_intact(path, AGAIN, keep=path.name in WEIGHTS) if is_sealed(path) else path
    expect_digest(path, recorded)
    return path


def expect_digest(path: Path, recorded: str | None, remedy: str = AGAIN) -> None:
    """Raise DamageError unless `path` has the digest that its run recorded."""
    if recorded is None:
        raise DamageError(f"{path} is not among the files that its run wrote; take {TRAINED} or {UNTRAINED}.")
    if not mirror.fetch(path):
        raise DamageError(f"{path} is missing; {remedy}")
    if known_digest(path) == recorded:
        return
    if path.name in WEIGHTS:
        raise DamageError(
            f"{path} differs from what the run recorded of it; restore it from a copy, or delete {path.parent} and "
            "give the command that trained the run again."
        )
    raise DamageError(f"{path} was changed after it was written and is set aside as {set_aside(path).name}; {remedy}")


def digests_of(result: dict[str, Any]) -> dict[str, str]:
    """The digests that a result has of the files beside it, by the names of the files."""
    return {file: result[name] for name, file in DIGESTS.items() if name in result}


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise DamageError(f"{path} is not what a training writes; {remedy}")
    return content
