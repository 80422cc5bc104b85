"""Whether a run is finished, and what makes it so. Imports no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.run_files import DIGESTS, ORIGIN, RESULT, WEIGHTS, digests_of, expect_digest, read_result
from store.digests import known_digest
from store.errors import DamageError
from store.remote import mirror
from store.seals import is_intact, write_sealed_json
from training.errors import TrainingError

MADE_AGAIN = "it is made again."
_warn = logging.getLogger(__name__).warning


def is_finished(output: Path, warn: Callable[[str], object] = _warn) -> bool:
    """Whether a run has ended and all its files are there as it wrote them.

    It is not finished where something is lost that can be made again. What is damaged of that is set aside, and `warn`
    is told.

    Raises:
        DamageError: weights differ from what the run recorded of them.
    """
    if not (output / RESULT).exists() or not is_intact(output / ORIGIN):
        return False
    try:
        result = read_result(output, MADE_AGAIN)
    except DamageError as error:
        warn(str(error))
        return False
    lost = []
    for name, digest in digests_of(result).items():
        try:
            expect_digest(output / name, digest, MADE_AGAIN)
        except DamageError as error:
            if name in WEIGHTS and (output / name).is_file():
                raise
            warn(str(error))
            lost.append(name)
    return not lost


def write_result(output: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write `result.json` with the digests of the run's files, after all of them; returns its content.

    Where it is there already, files were lost and are made again. The weights have to be the same as before.
    """
    digests = {name: known_digest(output / file) for name, file in DIGESTS.items() if (output / file).is_file()}
    result = {**facts, **digests}
    if is_intact(output / RESULT):
        before = read_result(output)
        expect_same_weights(output, digests_of(before), digests_of(digests))
        result = {**before, **digests}
    for file in digests_of(digests):
        mirror.note(output / file)  # the log of metrics is written bit by bit
    write_sealed_json(output / RESULT, result)
    return result


def expect_same_weights(output: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Raise TrainingError where weights that were made again are not those that the result is about."""
    for name in WEIGHTS:
        if before.get(name) != now.get(name):
            raise TrainingError(
                f"{output / name} was lost, and what the training made in its place is not the same, as happens on "
                f"other hardware; restore it from a copy, or delete {output} to train anew"
            )
