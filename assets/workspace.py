"""The resource `workspace`: where a run reads and writes, from the launchpad, a run config or the environment."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from cohorts.errors import CohortError
from cohorts.registry import cohort_names
from evaluation.errors import EvaluationError
from ingestion.workspace import PHANTOM
from ingestion.workspace import Workspace as PlainWorkspace
from models.errors import ModelError
from report_parsing.errors import ReportError
from shards.errors import ShardError
from store.settings import described_settings
from training.errors import TrainingError

PLAIN_ERRORS = (CohortError, ReportError, ShardError, ModelError, TrainingError, EvaluationError)
_DESCRIPTIONS = {name: description for name, _, _, description in described_settings(PlainWorkspace)}


@contextmanager
def one_sentence() -> Iterator[None]:
    """End a step with the one sentence of an error that a user can mend, without a traceback.

    A ValueError counts where a settings dataclass raised it.
    """
    try:
        yield
    except PLAIN_ERRORS as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except OSError as error:
        if error.filename is None:
            raise
        raise dg.Failure(f"{error.filename} cannot be used: {error.strerror}.", allow_retries=False) from error
    except ValueError as error:
        if any(frame.name == "__post_init__" for frame in traceback.extract_tb(error.__traceback__)):
            raise dg.Failure(str(error), allow_retries=False) from None
        raise


class WorkspaceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Home folder, cohort and archive of a run."""

    home: str = Field(default="", description=_DESCRIPTIONS["home"])
    cohort: str = Field(default="", description=f"{', '.join(cohort_names())}. Empty: RADALIGN_COHORT, else {PHANTOM}.")
    archive_root: str = Field(default="", description=_DESCRIPTIONS["archive_root"])
    show_text: bool = Field(default=False, description=_DESCRIPTIONS["show_text"])

    def plain(self) -> PlainWorkspace:
        """The workspace, without Dagster."""
        return PlainWorkspace(self.home, self.cohort, self.archive_root, self.show_text)
