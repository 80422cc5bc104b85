"""Where a run reads and writes: one resource that the launchpad, a run config or the environment fills in.

Nothing is looked up at import time. An empty field means "from the environment, when the run asks".
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    from cohorts.base import Cohort

CHECKOUT = Path(__file__).resolve().parents[1]
PHANTOM = "phantom"
REMOTE = "://"  # in an address on object storage: s3://bucket/prefix


def registered_cohorts() -> list[str]:
    """Names in the registry of cohorts, read from its source: importing it would load what reads the archives."""
    tree = ast.parse((CHECKOUT / "cohorts" / "registry.py").read_text(encoding="utf-8"))
    tables = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    (readers,) = map(ast.literal_eval, tables)
    return sorted(readers)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Let what a user can mend about an archive end a step with the one sentence that says how."""
    from cohorts.errors import CohortError

    try:
        yield
    except CohortError as error:
        raise dg.Failure(str(error), allow_retries=False) from None


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Home folder, cohort and archive of a run."""

    home: str = Field(
        default="", description="Where everything is kept. Empty: RADALIGN_HOME, else var/ in the checkout."
    )
    cohort: str = Field(
        default="", description=f"{', '.join(registered_cohorts())}. Empty: RADALIGN_COHORT, else {PHANTOM}."
    )
    archive_root: str = Field(
        default="",
        description="Root of the cohort's archive, a folder or s3://bucket/prefix. Empty: RADALIGN_<COHORT>_ROOT; "
        "phantom simulates its own.",
    )
    show_text: bool = Field(
        default=False, description="Show sentences of real reports in the metadata; simulated ones are always shown."
    )

    def home_path(self) -> Path:
        """Absolute home; a relative one counts from the checkout, whatever the working directory is."""
        return CHECKOUT / (self.home or os.environ.get("RADALIGN_HOME") or "var")

    def cohort_name(self) -> str:
        """Name of the cohort of this run."""
        return self.cohort or os.environ.get("RADALIGN_COHORT") or PHANTOM

    def folder(self, stage: str) -> Path:
        """Folder of one stage of this cohort."""
        return self.home_path() / self.cohort_name() / stage

    def configured_root(self) -> Path | None:
        """The archive root that somebody named, or None."""
        variable = f"RADALIGN_{self.cohort_name().upper()}_ROOT"
        root = self.archive_root or os.environ.get(variable, "")
        if REMOTE in root:
            from cohorts.archive.remote import as_root

            with one_sentence():
                return as_root(root)
        return CHECKOUT / root if root else None

    def root(self) -> Path:
        """Root of the archive; says which variable to set where a real cohort has none."""
        root = self.configured_root()
        if root is None and self.simulated():
            return self.folder("archive")
        if root is None:
            name = self.cohort_name()
            raise dg.Failure(
                f"The cohort {name} has no archive: set RADALIGN_{name.upper()}_ROOT (or the resource field "
                "archive_root) to the folder that holds it.",
                allow_retries=False,
            )
        return root

    def simulated(self) -> bool:
        """Whether the archive is ours to simulate: the phantom cohort with no root of its own."""
        return self.cohort_name() == PHANTOM and self.configured_root() is None

    def shows_simulation(self) -> bool:
        """Whether the films are drawn, not taken."""
        from cohorts.phantom.marker import is_marked

        return self.cohort_name() == PHANTOM or is_marked(self.root())

    def downstream(self, cohort: str) -> Workspace | None:
        """The same home with another cohort: the archive that its variable names, or beside a simulated pretraining
        the one that was simulated for it; None where it has neither."""
        from cohorts.phantom.marker import is_marked

        # No copy, with which Dagster would go on with the settings of the first.
        other = Workspace(home=self.home, cohort=cohort, show_text=self.show_text)
        if other.configured_root() is not None:
            return other
        archive = other.folder("archive")
        if not (self.simulated() and is_marked(archive)):
            return None
        return Workspace(home=self.home, cohort=cohort, archive_root=str(archive), show_text=self.show_text)

    def may_show_text(self) -> bool:
        """Whether sentences of reports may appear in metadata: simulated ones, or those that the user allows."""
        return self.show_text or self.simulated()

    def open_cohort(self, split: str = "") -> Cohort:
        """The cohort's reader, with one of its families of splits or its default; a user's mistake becomes a
        failure of one sentence."""
        from cohorts.registry import open_cohort

        with one_sentence():
            return open_cohort(self.cohort_name(), self.root(), split or None)
