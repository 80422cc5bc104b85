"""Where a run reads and writes: the home folder, the dataset, and the archive of the dataset.

Nothing is looked up at import time. An empty field means "from the environment, when it is needed".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cohorts.errors import CohortError
from cohorts.phantom import PHANTOM
from cohorts.phantom.marker import is_marked
from cohorts.views import USUAL
from ingestion.pooling.names import check_name, members_of, names_several, pool_name
from store import batches
from store.home import based, default_home, home_at
from store.presets import chosen_preset
from store.remote import mirror
from store.settings import setting

if TYPE_CHECKING:
    from cohorts.base import Cohort

REMOTE = "://"  # in an address on object storage: s3://bucket/prefix
VERSIONS = "versions"  # in the folder of a dataset
SIMULATED = "simulated"  # in the plan of the inventory: whether the images are


@dataclass(frozen=True)
class Workspace:
    """Home folder, dataset and archive of a run."""

    home: str = setting(
        "",
        "Where everything is kept, a folder or s3://bucket/prefix. Empty: RADALIGN_HOME, else var/ in the checkout.",
    )
    cohort: str = setting(
        "",
        "Name of the dataset, or names joined by + to pretrain on several. Empty: RADALIGN_COHORT, else phantom.",
    )
    archive_root: str = setting(
        "",
        "Root of the dataset's archive, a folder or s3://bucket/prefix. Empty: RADALIGN_<COHORT>_ROOT; phantom "
        "simulates its own.",
    )
    show_text: bool = setting(False, "Show sentences of real reports in the metadata; simulated ones are always shown.")
    preset: str = setting(
        "",
        "What gives the settings that nobody gave: demo, paper or small_gpu. Empty: RADALIGN_PRESET, else demo for the "
        "phantom and paper for every other dataset.",
    )
    description: str = setting(
        "",
        "Of the dataset `archive`: its description as YAML text, with an absolute `root`. Empty: archive_root names "
        "archive.yaml or its folder.",
    )
    version: str = setting("", "Version of the tables to read, see `ingestion.versions`. Empty: those that count now.")

    def home_path(self) -> Path:
        """Absolute path of the home; of one on object storage that of its mirror."""
        return home_at(self.home) if self.home else default_home()

    def cohort_name(self) -> str:
        """Name of the dataset of this run, or of the pool: those of its members in alphabetical order, joined by +."""
        return pool_name(members_of(self.cohort or os.environ.get("RADALIGN_COHORT") or PHANTOM))

    @property
    def is_pool(self) -> bool:
        """Whether the run is about several datasets at once."""
        return names_several(self.cohort_name())

    def members(self) -> list[Workspace]:
        """The workspace itself, or of a pool those of its members, sorted by name, which have archives of their own.

        CohortError where a pool has a wrong name, or was given the one archive of `archive_root`.
        """
        if not self.is_pool:
            return [self]
        check_name(self.cohort_name())
        if self.archive_root:
            raise CohortError(
                f"archive_root (or --root) names one archive, and {self.cohort_name()} has several; set "
                f"{' and '.join(f'RADALIGN_{name.upper()}_ROOT' for name in members_of(self.cohort_name()))} instead."
            )
        return [replace(self, cohort=name, version="") for name in members_of(self.cohort_name())]

    def preset_name(self) -> str:
        """The preset of this run; PresetError where there is none of the name."""
        return chosen_preset(self.preset, self.cohort_name() == PHANTOM)

    def folder(self, stage: str) -> Path:
        """Folder of one stage of this dataset, of the version that is read where that has the stage."""
        dataset = self.home_path() / self.cohort_name()
        kept = dataset / VERSIONS / self.version / stage
        return kept if self.version and kept.is_dir() else dataset / stage

    def configured_root(self) -> Path | None:
        """The archive root that somebody named, a folder or a description, or None."""
        if self.description:
            from cohorts.registry import keep_description

            folder = self.home_path() / self.cohort_name() / "described"
            return keep_description(self.cohort_name(), self.description, folder)
        root = self.archive_root or os.environ.get(f"RADALIGN_{self.cohort_name().upper()}_ROOT", "")
        if REMOTE in root:
            from cohorts.archive.remote import as_root

            return as_root(root)
        return based(root) if root else None

    def root(self) -> Path:
        """Folder of the files of the archive; CohortError as `named_root`, or where its description has a mistake."""
        from cohorts.registry import files_root

        return files_root(self.cohort_name(), self.named_root())

    def watched_files(self) -> Sequence[Path]:
        """Files whose change is one of the archive, beside those in its upper folders; CohortError as `root`."""
        from cohorts.registry import watched_files

        return watched_files(self.cohort_name(), self.named_root())

    def named_root(self) -> Path:
        """Root of the archive as somebody named it, a folder or a description; CohortError says which variable to set
        where a real dataset has none."""
        root = self.configured_root()
        if root is None and self.simulated():
            mirror.unpack(self.folder("archive"))
            return self.folder("archive")
        if root is None:
            name = self.cohort_name()
            raise CohortError(
                f"The cohort {name} has no archive: set RADALIGN_{name.upper()}_ROOT (or the resource field "
                "archive_root) to the folder that holds it."
            )
        return root

    def simulated(self) -> bool:
        """Whether the archive is ours to simulate: the phantom dataset with no root of its own; no pool's is."""
        return self.cohort_name() == PHANTOM and self.configured_root() is None

    def shows_simulation(self) -> bool:
        """Whether images are simulated, of a pool any: as the inventory found, or else as the archive says."""
        if self.is_pool:
            return any(member.shows_simulation() for member in self.members())
        found = batches.read_plan(self.folder("inventory")).settings.get(SIMULATED)
        return self.cohort_name() == PHANTOM or (is_marked(self.root()) if found is None else bool(found))

    def downstream(self, cohort: str) -> Workspace | None:
        """The same home with another dataset.

        Its archive is the one that its variable names or, beside a simulated pretraining, the one that was simulated
        for it; None where it has neither.
        """
        other = replace(self, cohort=cohort, archive_root="", description="", version="", preset=self.preset_name())
        if other.configured_root() is not None:
            return other
        archive = other.folder("archive")
        mirror.unpack(archive)
        return replace(other, archive_root=str(archive)) if self.simulated() and is_marked(archive) else None

    def may_show_text(self) -> bool:
        """Whether sentences of reports may appear in metadata: simulated ones, or those that the user allows."""
        return self.show_text or self.simulated()

    def open_cohort(self, split: str = "", views: Sequence[str] = USUAL) -> Cohort:
        """The dataset's reader, with one of its families of splits or its default, and of its images those of the kinds
        `views`; CohortError where that fails."""
        from cohorts.registry import open_cohort

        return open_cohort(self.cohort_name(), self.named_root(), split or None, views, self.home_path())


def member_of(workspace: Workspace, cohort: str) -> Workspace:
    """The workspace of one dataset of a run: its own, or a member of its pool."""
    (found,) = (member for member in workspace.members() if member.cohort_name() == cohort)
    return found
