"""Cuts an archive into batches of studies that stay what they are when the archive grows.

The table `members` remembers which study is in which batch (`ingestion.members`). New studies go into new batches, so
they cost only themselves; a study that changed or vanished gives its batch another fingerprint. What every image was
made from is kept, too, so that the next inventory can say which images are new, changed or gone.

A batch has the size and time of every file, and whether it was there at all. Later stages compare: a file that was not
there makes a reject, a file that was there and is not found ends the run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.archive.listed import explain_loss, identify
from cohorts.errors import CohortError
from cohorts.phantom import PHANTOM
from cohorts.phantom.marker import is_marked
from cohorts.views import NOT_CHOSEN, USUAL
from ingestion.members import assign, read_members, rows_of_batches, write_members
from ingestion.stamps import ROWS_AT_ONCE, KeptStamps, Tables, describe_tables, join_stamps, read_stamps
from ingestion.workspace import REMOTE, SIMULATED
from store import batches
from store.atomic import write_json
from store.batches import Batch, Count, Plan
from store.digests import fingerprint
from store.errors import SettingError
from store.processes import return_memory
from store.remote import mirror
from store.seals import is_intact, set_aside, write_sealed_table
from store.settings import setting

if TYPE_CHECKING:
    from cohorts.base import Cohort, Scan
    from ingestion.workspace import Workspace

REJECTS = "rejects.parquet"
SOURCES = "sources.parquet"
BEGAN = "listing"  # an empty file; its time says when the last listing began
ARCHIVE = "archive.json"  # says where the archive is that was listed last, and in which state its tables were
IMAGES, TEXTS = "images", "texts"  # aspects of a batch: what decoding reads, and what taking reports apart reads
NEW, VANISHED = "new", "vanished"
Log = Callable[[str], object]

# A digest of what each later stage reads of an image: the names that end in its tables, and the state of its file.
_SOURCES = """
select image_id,
    md5(to_json([cohort, image_id, study_id, image_path, image_stamp])) as images,
    md5(to_json([cohort, image_id, study_id, image_path, report_path, report_stamp])) as texts,
    md5(to_json(studies)) as row
from studies positional join stamps
"""
_CHANGES = """
select image_id, case
    when known.image_id is null then 'new'
    when present.image_id is null then 'vanished'
    when known.images <> present.images then 'image changed'
    when known.texts <> present.texts then 'report changed'
    else 'row changed' end as change
from known full join present using (image_id)
where known.images is distinct from present.images or known.texts is distinct from present.texts
    or known.row is distinct from present.row
order by change, image_id
"""


@dataclass(frozen=True)
class InventorySettings:
    """How the archive is cut."""

    batch_size: int = setting(500, "Studies per batch, the unit of recomputation.")
    split: str = setting(
        "",
        "Family of train, validate and test splits, where the cohort has several, such as official or 80/10/10. "
        "Empty: its first.",
    )
    views: tuple[str, ...] = setting(
        USUAL,
        "Kinds of views that become studies: frontal, lateral, unknown (not said, or neither of the two). The others "
        "are rejects. A method says which of them it trains on.",
    )

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SettingError("inventory: `batch_size` must be at least 1")
        object.__setattr__(self, "views", tuple(self.views))  # a launchpad and a kept file give lists


@dataclass(frozen=True)
class Inventory:
    """What an inventory found: the batches, how many were written, and how the archive changed since the last."""

    plan: Plan
    computed: int
    changes: pa.Table  # image_id, change
    scan: Scan

    def count_changes(self) -> dict[str, int]:
        """Images that are new, changed and gone."""
        counts: Counter[str] = Counter()
        for found in pc.value_counts(self.changes["change"]).to_pylist():
            counts[found["values"]] = found["counts"]
        changed = sum(count for change, count in counts.items() if change not in (NEW, VANISHED))
        return {NEW: counts[NEW], "changed": changed, VANISHED: counts[VANISHED]}


def update_inventory(workspace: Workspace, settings: InventorySettings, log: Log) -> Inventory:
    """List the archive and cut it into batches.

    CohortError where no image of it can be used, where it has none of those that are known, or where it was not there
    all the time.
    """
    folder = workspace.folder("inventory")
    cohort = workspace.open_cohort(settings.split, settings.views)
    log(f"Listing the archive of {cohort.name} in {cohort.root}.")
    _mark_beginning(folder)
    identity, tables = identify(cohort.root), describe_tables(workspace, cohort)
    scan = cohort.scan()
    return_memory()
    log(f"Of {scan.source_rows} images {scan.studies.num_rows} can be used, as far as the archive's tables tell.")
    for note in scan.notes:
        log(note)
    if not scan.studies.num_rows:
        raise CohortError(_explain_nothing_usable(cohort.name, scan))
    if not workspace.simulated():  # the phantom's archive is ours, and may be simulated anew
        _expect_known(folder, cohort, scan, log)
    kept = _kept_stamps(folder, tables, log)
    stamps = read_stamps(cohort, scan.studies, log, kept)
    cohort.release()
    return_memory()
    if identify(cohort.root) != identity:
        raise explain_loss(cohort.root)
    _keep_archive(workspace, cohort, Tables())  # until the plan is that of the present tables
    found = take_inventory(folder, cohort, scan, settings.batch_size, log, stamps)
    _keep_archive(workspace, cohort, tables)
    changes = found.count_changes()
    log(
        f"Since the last run {changes[NEW]} images are new, {changes['changed']} changed and "
        f"{changes[VANISHED]} vanished."
    )
    return found


def listed_root(workspace: Workspace) -> str:
    """Where the archive of a dataset was when it was listed last: a folder or an address; empty where that is unknown.

    It stays known where no variable names the archive any more.
    """
    root = _read_archive(workspace.home_path() / workspace.cohort_name() / "inventory").get("root", "")
    return root if not root or REMOTE in root else str(workspace.home_path() / root)


def _keep_archive(workspace: Workspace, cohort: Cohort, tables: Tables) -> None:
    """Where the archive is, and its tables as they were. One in the home is kept relative to it: homes are moved."""
    root, home = str(cohort.root), workspace.home_path()
    if REMOTE not in root and Path(root).is_relative_to(home):
        root = Path(root).relative_to(home).as_posix()
    write_json(workspace.folder("inventory") / ARCHIVE, {"root": root, "tables": tables.state})


def _read_archive(folder: Path) -> dict[str, str]:
    """What `_keep_archive` kept; empty where that is nothing, or damaged."""
    try:
        return {str(name): str(value) for name, value in json.loads((folder / ARCHIVE).read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _kept_stamps(folder: Path, tables: Tables, log: Log) -> KeptStamps | None:
    """The stamps of the reports in the tables of the archive, where these are what they were at the last listing."""
    if not tables.state or _read_archive(folder).get("tables") != tables.state:
        return None
    plan = batches.read_last_plan(folder, log)
    if not plan.batches or not all(is_intact(batches.output_path(folder, one.fingerprint)) for one in plan.batches):
        return None
    known = batches.read_batches(folder, plan, ["study_id", "report_stamp"], verified=False)
    return KeptStamps(tables.paths, known["study_id"], known["report_stamp"])


def take_inventory(
    folder: Path, cohort: Cohort, scan: Scan, batch_size: int, log: Log, stamps: pa.Table | None = None
) -> Inventory:
    """Write the scan of an archive as batches of studies with their `stamps`, its rejects and the plan."""
    stamps = read_stamps(cohort, scan.studies, log) if stamps is None else stamps
    sources = describe_sources(scan.studies, stamps)
    studies = scan.studies["study_id"]
    members = assign(read_members(folder, batch_size, log), pc.unique(studies), batch_size)
    before = set(batches.read_last_plan(folder, lambda _: None).fingerprints().values())
    computed, cut, counts, is_same = 0, [], {}, np.zeros(len(studies), bool)
    for name, rows in rows_of_batches(studies, members):
        batch = _batch(name, cohort, sources.take(rows), stamps.take(rows))
        is_same[rows] = batch.fingerprint in before
        outcome = batches.run_batch(
            folder,
            batch,
            lambda rows=rows: (join_stamps(scan.studies.take(rows), stamps.take(rows)), None),  # type: ignore[misc]
            log=log,
        )
        computed += outcome.computed
        cut.append(batch)
        counts[batch.fingerprint] = Count(outcome.rows, outcome.rejects)
    changes = _compare_batches(_previous_sources(folder, log), sources, is_same)
    write_sealed_table(scan.rejects, folder / REJECTS)
    write_members(members, folder, batch_size)
    settings = {
        "batch_size": batch_size,
        "split": cohort.split,
        "views": list(cohort.views),
        "has_reports": cohort.has_reports,
        "source_rows": scan.source_rows,
        SIMULATED: cohort.name == PHANTOM or is_marked(cohort.root),  # also known where the archive is away later
    }
    plan = Plan(tuple(cut), settings)
    batches.commit(folder, plan, counts)
    write_sealed_table(sources, folder / SOURCES)
    return Inventory(plan, computed, changes, scan)


def describe_sources(studies: pa.Table, stamps: pa.Table) -> pa.Table:
    """Digests per image, in the order of `studies`: `images`, `texts` (by file size and time, or content) and `row`."""
    with duckdb.connect() as database:
        return pa.concat_tables(
            _digest_sources(database, studies.slice(start, ROWS_AT_ONCE), stamps.slice(start, ROWS_AT_ONCE))
            for start in range(0, max(studies.num_rows, 1), ROWS_AT_ONCE)
        )


def _digest_sources(database: duckdb.DuckDBPyConnection, studies: pa.Table, stamps: pa.Table) -> pa.Table:
    database.register("studies", studies)
    database.register("stamps", stamps)
    return database.sql(_SOURCES).to_arrow_table()


def images_aspect(sources: pa.Table) -> str:
    """What decoding reads of a batch, by the `sources` of its images."""
    return fingerprint(IMAGES, sources[IMAGES].to_pylist())


def compare(known: pa.Table | None, present: pa.Table) -> pa.Table:
    """What became of each image (image_id, change) that is not what it was."""
    with duckdb.connect() as database:
        database.register("known", present.slice(0, 0) if known is None else known)
        database.register("present", present)
        return database.sql(_CHANGES).to_arrow_table()


def _compare_batches(known: pa.Table | None, present: pa.Table, is_same: np.ndarray) -> pa.Table:
    """`compare`, without the images of batches that are what they were (`is_same`, by the rows of `present`)."""
    if known is not None and is_same.any():
        same = present["image_id"].filter(pa.array(is_same))
        known = known.filter(pc.invert(pc.is_in(known["image_id"], value_set=same)))
    return compare(known, present.filter(pa.array(~is_same)))


def _explain_nothing_usable(cohort: str, scan: Scan) -> str:
    reasons = Counter(scan.rejects["reason"].to_pylist())
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"None of the {scan.source_rows} images in the archive of {cohort} can be used: {counts or 'it is empty'}."


def _mark_beginning(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEGAN).touch()


def _expect_known(folder: Path, cohort: Cohort, scan: Scan, log: Log) -> None:
    """CohortError where the archive has no image of those that are known: it is another one, or lacks a disk."""
    known = _previous_sources(folder, log, ["image_id"])
    if known is None or not known.num_rows:
        return
    others = scan.rejects.filter(pc.equal(scan.rejects["reason"], NOT_CHOSEN))  # that other views are asked for now
    present = pa.chunked_array([*scan.studies["image_id"].chunks, *others["image_id"].chunks], pa.string())
    if not pc.any(pc.is_in(present, value_set=known["image_id"])).as_py():
        raise CohortError(
            f"The archive {cohort.root} has none of the {known.num_rows} images that were known of {cohort.name}: "
            f"mount all of it, or set {folder.parent} aside if it shall be replaced by another archive."
        )


def _batch(name: str, cohort: Cohort, sources: pa.Table, stamps: pa.Table) -> Batch:
    reading = [cohort.has_reports, cohort.report_style]
    aspects = {
        IMAGES: images_aspect(sources),
        TEXTS: fingerprint(TEXTS, reading, sources[TEXTS].to_pylist()),
    }
    return Batch(name, fingerprint("inventory", sources["row"].to_pylist(), stamps.to_pylist()), aspects=aspects)


def _previous_sources(folder: Path, log: Log, columns: Sequence[str] | None = None) -> pa.Table | None:
    path = folder / SOURCES
    if not mirror.fetch(path):
        return None
    if not is_intact(path):
        set_aside(path)
        log(f"{path} was damaged and is made again, so every image counts as new this time.")
        return None
    table = pq.read_table(path, columns=columns)
    return table.rename_columns(["images" if name == "films" else name for name in table.column_names])  # older homes
