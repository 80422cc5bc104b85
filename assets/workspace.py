"""The resource `workspace`: where a run reads and writes, from the launchpad, a run config or the environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from cohorts.registry import cohort_names
from ingestion.pooling.names import members_of, pool_name
from ingestion.workspace import PHANTOM
from ingestion.workspace import Workspace as PlainWorkspace
from store.errors import SettingError, UserError, sentence_of
from store.presets import DEMO, PAPER, PRESETS
from store.remote import mirror
from store.settings import described_settings

PARTITION = "dagster/partition"  # Dagster's tag of a run: the dataset, for whoever launches it in the UI
PARTITION_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

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


def partition_of(tags: Mapping[str, str], cohort: str) -> str:
    """The dataset that was chosen as the partition of a run with these tags, or "".

    SettingError where `cohort`, which a run config names, is another one, and for more than one partition.
    """
    first, last = (tags.get(name, "") for name in PARTITION_RANGE)
    if first != last:
        raise SettingError(
            f"A run works on one dataset, not on all from {first} to {last}: choose one run per partition."
        )
    chosen = tags.get(PARTITION, first)
    if chosen and cohort and chosen != pool_name(members_of(cohort)):
        raise SettingError(
            f"The partition is {chosen}, but resources.workspace.config.cohort is {cohort}: leave the cohort empty."
        )
    return chosen


class WorkspaceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Home folder, cohort and archive of a run."""

    home: str = Field(default="", description=_DESCRIPTIONS["home"])
    cohort: str = Field(
        default="",
        description=f"{', '.join(cohort_names())}, or several joined by +. Empty: RADALIGN_COHORT, else {PHANTOM}.",
    )
    archive_root: str = Field(default="", description=_DESCRIPTIONS["archive_root"])
    description: str = Field(default="", description=_DESCRIPTIONS["description"])
    show_text: bool = Field(default=False, description=_DESCRIPTIONS["show_text"])

    preset: str = Field(
        default="",
        description=f"{'; '.join(f'{name}: {text}' for name, text in PRESETS.items())}. It gives the settings that "
        f"nobody gave. Empty: RADALIGN_PRESET, else {DEMO} for the phantom and {PAPER} for every other dataset.",
    )

    _partition: str = PrivateAttr("")
    _failure: UserError | None = PrivateAttr(None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Learn which partition is run."""
        if context.run is not None:
            self._partition = partition_of(context.run.tags, self.cohort)
        try:
            mirror.refresh(self.described().home_path())
        except UserError as error:  # said by the step, or by the check of the run: here it would have a stack
            self._failure = error

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Publish what the steps of this process have written last."""
        if self._failure is None:
            mirror.flush(self.described().home_path())

    def on(self, cohort: str) -> WorkspaceResource:
        """The same home with another dataset, whose archive is the one that its variable names."""
        return WorkspaceResource(home=self.home, cohort=cohort, show_text=self.show_text, preset=self.preset)

    def plain(self) -> PlainWorkspace:
        """The workspace, without Dagster; StoreError where its home is on object storage and cannot be used."""
        if self._failure is not None:
            raise self._failure
        return self.described()

    def described(self) -> PlainWorkspace:
        """The workspace, without Dagster, also where its home cannot be used."""
        cohort = self.cohort or self._partition
        return PlainWorkspace(
            self.home, cohort, self.archive_root, self.show_text, self.preset, description=self.description
        )
