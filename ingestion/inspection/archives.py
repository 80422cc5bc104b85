"""Lists the archives that were recognised, each with its reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cohorts.errors import CohortError
from cohorts.phantom.marker import is_marked
from cohorts.registry import open_cohort
from cohorts.splits import OFFICIAL
from ingestion.inspection.counts import Counts, count_scan, read_some_reports
from ingestion.inspection.progress import reporting

if TYPE_CHECKING:
    from cohorts.base import Cohort, Scan
    from ingestion.inspection.progress import Log
    from ingestion.inspection.recognise import Candidate

ARCHIVE = "archive"  # the dataset that a description makes
GONE = ("missing_file", "missing_report", "missing_mask")  # reasons that another root may mend


@dataclass(frozen=True)
class Archive:
    """A dataset in a folder, as its reader sees it."""

    name: str
    root: Path
    counts: Counts | None  # None: the reader cannot list it
    missing: str  # one sentence about what is missing; empty where the archive can be used
    is_simulated: bool

    @property
    def is_usable(self) -> bool:
        """Whether at least one image would become a study."""
        return not self.missing


def list_archive(name: str, roots: Sequence[Path], log: Log, home: Path, shown: Path | None = None) -> Archive:
    """The archive of a dataset in that one of `roots` in which its reader finds most, the first of equals.

    The key of hashed identifiers is made in `home`; splits that are drawn from them are left out, as another key draws
    others. `shown` is what progress calls the root.
    """
    best: tuple[Cohort, Scan] | None = None
    sentence = ""
    for root in roots:
        try:
            with reporting(log, f"Listing {shown or root} as {name}"):
                cohort = open_cohort(name, root, home=home)
                scan = cohort.scan()
        except CohortError as error:
            sentence = sentence or str(error)
            continue
        if best is None or len(scan.studies) > len(best[1].studies):
            best = cohort, scan
        if len(scan.studies) and not set(GONE) & set(scan.rejects["reason"].to_pylist()):
            break
    if best is None:
        return Archive(name, roots[0], None, sentence, is_marked(roots[0]))
    cohort, scan = best
    counts = count_scan(scan, read_some_reports(cohort, scan) if len(scan.studies) else None)
    if name == ARCHIVE and cohort.split != OFFICIAL:
        counts = replace(counts, splits={})
    return Archive(name, cohort.root, counts, _explain_nothing(counts), any(map(is_marked, {cohort.root, *roots})))


def recognise_archives(folder: Path, candidates: Sequence[Candidate], log: Log) -> list[Archive]:
    """The archives of all candidates, those that can be used first."""
    with TemporaryDirectory() as home:
        archives = [
            list_archive(one.name, [folder / root for root in one.roots], log, Path(home)) for one in candidates
        ]
    return sorted(archives, key=lambda archive: not archive.is_usable)


def _explain_nothing(counts: Counts) -> str:
    """What is missing where no image can be used; empty where one can."""
    if counts.usable:
        return ""
    if not counts.rejects:
        return "Its tables name no image."
    reason, detail, images = counts.rejects[0]
    return f"None of its {counts.images} images can be used, {images} because of {reason}: {detail}"
