"""What `dagster job execute` prints of a run that fails: sentences in place of stacks, and the last line says why.

The stacks are in the history of the run (`make ui`). Faults of ours keep theirs.
"""

from __future__ import annotations

import atexit
import logging
import sys
from types import TracebackType

import dagster as dg
from pydantic import ValidationError

from pipelines.preflight.mistakes import explain_config
from pipelines.run.failures import Ending, explain_failure, title_of

COMMAND = ["job", "execute"]
SKIPPED = "Dependencies for step"  # Dagster's words on every step behind the one that failed
METADATA = "dagster_meta"  # of a record of Dagster's
CONFIG_ERRORS = (dg.DagsterInvalidConfigError, dg.DagsterConfigMappingFunctionError, ValidationError)

_endings: list[Ending] = []


def install() -> None:
    """Change what this process prints, if it is `dagster job execute`, which loads its settings before this code."""
    if sys.argv[1:3] != COMMAND:
        return
    logging.setLoggerClass(ShortLogger)
    sys.excepthook = explain_exception
    atexit.register(say_why)


class ShortLogger(logging.Logger):
    """A logger like any other, but for the failures that Dagster logs."""

    def handle(self, record: logging.LogRecord) -> None:
        """Pass a record on; a failure that a user can mend is one line."""
        metadata = getattr(record, METADATA, None)
        if metadata is None:
            super().handle(record)
            return
        if metadata["orig_message"].startswith(SKIPPED):
            return
        ending = explain_failure(metadata["dagster_event"], [])
        if ending is not None:
            _endings.append(ending)
            if ending.mendable and not ending.stopped:
                stage = title_of(metadata["step_key"] or metadata["job_name"] or "")
                record.msg, record.args = f"{stage} failed: {ending.sentence}", ()
        super().handle(record)


def explain_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one sentence what is wrong with a run config; everything else is printed as ever."""
    if isinstance(error, CONFIG_ERRORS):
        sys.stderr.write(f"radalign: {explain_config(error)}\n")
    else:
        sys.__excepthook__(kind, error, trace)


def say_why() -> None:
    """Print the sentence of the first failure, as the last line of all."""
    if _endings and not _endings[0].stopped:
        sys.stderr.write(f"radalign: {_endings[0].sentence.rstrip('.')}.\n")
