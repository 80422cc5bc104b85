"""Why a run of Dagster ended, in one sentence, from what its history keeps of errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg

from store.errors import FULL, READ_ONLY, UserError, sentence_of

INTERRUPTS = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}
CHECK_FAILED = "DagsterAssetCheckFailedError"


@dataclass(frozen=True)
class Ending:
    """What ended a run."""

    sentence: str
    mendable: bool = True  # by the user; else the fault is ours
    stopped: bool = False  # by Ctrl-C or in the UI


def explain_failure(event: Any, failed_checks: list[str]) -> Ending | None:
    """What a failure of a step or of a run says; None where the event is none.

    `failed_checks` are sentences on the checks that did not pass, the last one last.
    """
    data = getattr(event, "event_specific_data", None)
    error = getattr(data, "error", None)
    if error is None:
        return None
    infos = list(_with_causes(error))
    names = [info.cls_name for info in infos]
    if INTERRUPTS & set(names):
        return Ending("", stopped=True)
    said = getattr(data, "user_failure_data", None)
    if said is not None and said.description:
        return Ending(said.description)
    if CHECK_FAILED in names:
        return Ending(failed_checks[-1] if failed_checks else _words(infos[names.index(CHECK_FAILED)]))
    for info in infos:
        sentence = _sentence(info)
        if sentence:
            return Ending(sentence)
    where = f", at {title_of(event.step_key)}" if getattr(event, "step_key", None) else ""
    return Ending(f"{names[-1] or 'An error'} in our code{where}", mendable=False)


def title_of(step_key: str) -> str:
    """How people call the asset that a step belongs to."""
    return step_key.split(".")[0].replace("__", "/")


def _sentence(info: Any) -> str | None:
    said = _words(info)
    if info.cls_name in _mendable_names():
        return said
    if FULL.search(info.message) or READ_ONLY.search(info.message):
        return sentence_of(OSError(said))
    return None


def _words(info: Any) -> str:
    """The message of an error, without the name of its class."""
    return str(info.message).partition(": ")[2].strip() or str(info.message).strip()


def _mendable_names() -> set[str]:
    """Names of the error classes of all rooms that are loaded; every error that reached us is of one that is."""
    todo: list[type[Exception]] = [UserError]
    found = {dg.Failure.__name__}
    while todo:
        kind = todo.pop()
        found.add(kind.__name__)
        todo += kind.__subclasses__()
    return found


def _with_causes(info: Any) -> Iterator[Any]:
    """The error and those behind it, the outermost first."""
    while info is not None:
        yield info
        info = info.cause or info.context
