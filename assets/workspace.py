"""The resource `workspace`: where a run reads and writes, from the launchpad, a run config or the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from cohorts.registry import cohort_names
from ingestion.workspace import PHANTOM
from ingestion.workspace import Workspace as PlainWorkspace
from store.errors import sentence_of
from store.presets import DEMO, PAPER, PRESETS
from store.settings import described_settings

_DESCRIPTIONS = {name: description for name, _, _, description in described_settings(PlainWorkspace)}


@contextmanager
def one_sentence() -> Iterator[None]:
    """End a step with the one sentence of an error that a user can mend, without a traceback."""
    try:
        yield
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        raise dg.Failure(sentence, allow_retries=False) from None


def identify(workspace: PlainWorkspace) -> dict[str, Any]:
    """Whose numbers they are, as metadata: the dataset, the preset and the home."""
    return {
        "cohort": workspace.cohort_name(),
        "preset": workspace.preset_name(),
        "home": dg.MetadataValue.path(str(workspace.home_path())),
    }


class WorkspaceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Home folder, cohort and archive of a run."""

    home: str = Field(default="", description=_DESCRIPTIONS["home"])
    cohort: str = Field(default="", description=f"{', '.join(cohort_names())}. Empty: RADALIGN_COHORT, else {PHANTOM}.")
    archive_root: str = Field(default="", description=_DESCRIPTIONS["archive_root"])
    show_text: bool = Field(default=False, description=_DESCRIPTIONS["show_text"])

    preset: str = Field(
        default="",
        description=f"{'; '.join(f'{name}: {text}' for name, text in PRESETS.items())}. It gives the settings that "
        f"nobody gave. Empty: RADALIGN_PRESET, else {DEMO} for the phantom and {PAPER} for every other dataset.",
    )

    def plain(self) -> PlainWorkspace:
        """The workspace, without Dagster."""
        return PlainWorkspace(self.home, self.cohort, self.archive_root, self.show_text, self.preset)
