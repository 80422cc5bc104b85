"""Groups `source`, `ingestion` and `shards`: the archive, images, what can be used, the shards, and their checks."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets import previews
from assets.batched import KINDS, Metadata, batched_asset
from assets.members import for_every_member
from assets.settings.launchpad import launchpad_config, settings_of
from assets.workspace import WorkspaceResource, identify, one_sentence
from cohorts.phantom.config import PhantomConfig
from ingestion import checks, inventory
from ingestion.checks import CheckResult
from ingestion.inventory import Inventory, InventorySettings, update_inventory
from ingestion.pipeline import IMAGES, SHARDS, keep_pool
from ingestion.previews.contact_sheet import COLUMNS, count_doubts, make_contact_sheet
from ingestion.previews.summaries import HEADER_COLUMNS, HeaderSummary, summarize_headers
from ingestion.simulation import simulate_archive
from ingestion.stage import count_batches
from ingestion.tables.subsets import SubsetsSettings, table_path, write_subsets, write_usable
from ingestion.versions import pin, take_version
from ingestion.workspace import Workspace
from store import batches
from store.batches import Plan
from store.digests import fingerprint, known_digest

GROUP = "ingestion"
ONLY_GREW = "only_grew"
NAMED = 100  # images by name; the counts are of all
SHEET = "some images"

ArchiveConfig = launchpad_config(PhantomConfig)
InventoryConfig = launchpad_config(InventorySettings)
SubsetsConfig = launchpad_config(SubsetsSettings)


@dg.asset(group_name="source", kinds={"dicom", "file"})
@for_every_member
def archive(
    context: dg.AssetExecutionContext,
    config: ArchiveConfig,  # type: ignore[valid-type]
    workspace: WorkspaceResource,
) -> dg.MaterializeResult[Any]:
    """Radiographs and reports on disk, in the published layout of the cohort.

    The default cohort, `phantom`, is a simulation: it is written here, once, in the layout of MIMIC-CXR, and its
    numbers say nothing about patients. For every other cohort this checks that the archive is there.
    """
    there = workspace.plain()
    metadata, settings = {"computed": 0}, settings_of(config, PhantomConfig)
    with one_sentence():
        if there.simulated():
            metadata = simulate_archive(there, settings, context.log.info)
        there.open_cohort()
        root = str(there.root())
    return dg.MaterializeResult(
        metadata={**metadata, "root": dg.MetadataValue.path(root), **identify(there)},
        data_version=dg.DataVersion(fingerprint(root, asdict(settings) if there.simulated() else {})),
    )


@dg.asset(
    name="inventory",
    group_name=GROUP,
    kinds=KINDS,
    deps=[archive],
    check_specs=[
        dg.AssetCheckSpec(
            ONLY_GREW,
            asset="inventory",
            description="Since the last run images only came; none that was known changed or vanished.",
        )
    ],
)
@for_every_member
def inventory_asset(
    context: dg.AssetExecutionContext,
    config: InventoryConfig,  # type: ignore[valid-type]
    workspace: WorkspaceResource,
) -> Iterator[dg.MaterializeResult[Any]]:
    """Every image of the archive, cut into batches of studies that stay the same when the archive grows.

    `computed` counts the batches that are new or changed since the last scan; all later stages follow it. Files
    that changed or vanished since then are counted and named: their batches are made anew, without what is gone.
    """
    there = workspace.plain()
    with one_sentence():
        found = update_inventory(there, settings_of(config, InventorySettings), context.log.info)
    scan = found.scan
    counts = count_batches(batches.count(there.folder("inventory"), found.plan), found.plan, found.computed)
    yield dg.MaterializeResult(
        metadata={
            **counts,
            "dagster/row_count": counts["rows"],
            **found.count_changes(),
            "changes": previews.head(found.changes, ("image_id", "change"), NAMED),
            "rejects": scan.rejects.num_rows,
            "source_rows": scan.source_rows,
            "split": found.plan.settings["split"],
            "studies": len(pc.unique(scan.studies["study_id"])),
            "subjects": len(pc.unique(scan.studies["subject_id"])),
            "views and splits": previews.counts(scan.studies, "view", "split"),
            **identify(there),
        },
        data_version=dg.DataVersion(found.plan.version()),
        check_results=[_only_grew(found, identify(there))],
    )


def _only_grew(found: Inventory, whose: Metadata) -> dg.AssetCheckResult:
    old = found.changes.filter(pc.field("change") != inventory.NEW)
    return dg.AssetCheckResult(
        check_name=ONLY_GREW,
        passed=old.num_rows == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={**found.count_changes(), "images": previews.head(old, ("image_id", "change"), NAMED), **whose},
    )


def _preview_images(workspace: Workspace, plan: Plan) -> Metadata:
    folder = workspace.folder("images")

    def read(columns: Sequence[str]) -> Iterator[pa.Table]:
        return (batches.read_batches(folder, part, columns, verified=False) for part in plan.parts())

    sheet = make_contact_sheet(folder, plan)
    return {
        "size": plan.settings["size"],
        **({SHEET: previews.picture(sheet, SHEET)} if sheet else {}),
        **count_doubts(read(COLUMNS)),
        **show_headers(summarize_headers(read(HEADER_COLUMNS))),
        **previews.reasons(batches.read_rejects(folder, plan)),
    }


def show_headers(headers: HeaderSummary) -> Metadata:
    """Names and counts of the identifying attributes that were dropped, and of images with text in their pixels."""
    metadata: Metadata = {
        "identifying attributes": previews.markdown_table(("attribute", "images"), headers.dropped),
        **{f"burned-in annotation: {word}": count for word, count in headers.burned_in.items()},
    }
    if headers.images_with_annotation.num_rows:
        named = previews.head(headers.images_with_annotation, ("image_id",), NAMED)
        metadata["images with burned-in annotation"] = named
    return metadata


images = batched_asset(
    IMAGES,
    GROUP,
    "Radiographs as 8-bit squares; what cannot be read is rejected, and why. Of a DICOM header only an "
    "allow-list is kept; which identifying attributes were there is counted, never their values.",
    _preview_images,
)


@dg.multi_asset(
    group_name=GROUP,
    specs=[
        dg.AssetSpec(
            "studies",
            deps=["inventory", "images", "reports"],
            kinds=KINDS,
            description="The images that can be used: scanned, decoded and with a report that can be read.",
        ),
        dg.AssetSpec(
            "rejects",
            deps=["inventory", "images", "reports"],
            kinds=KINDS,
            description="The images that cannot be used, which stage found out, and why; a row per image.",
        ),
    ],
)
@for_every_member
def usable(workspace: WorkspaceResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Every image of the archive ends in exactly one of the two tables."""
    place = workspace.plain()
    studies, rejects = write_usable(place)
    whose = identify(place)
    yield dg.MaterializeResult(
        asset_key="studies",
        metadata={
            "dagster/row_count": studies.num_rows,
            "subjects": len(pc.unique(studies["subject_id"])),
            "splits": previews.counts(studies, "split", "view"),
            "preview": previews.head(studies, ("image_id", "study_id", "view", "split")),
            **whose,
        },
        data_version=_version_of(place, "studies"),
    )
    yield dg.MaterializeResult(
        asset_key="rejects",
        metadata={
            "dagster/row_count": rejects.num_rows,
            "reasons": previews.counts(rejects, "stage", "reason"),
            "preview": previews.head(rejects, ("image_id", "stage", "reason", "detail")),
            **whose,
        },
        data_version=_version_of(place, "rejects"),
    )


def _version_of(workspace: Workspace, table: str) -> dg.DataVersion:
    return dg.DataVersion(known_digest(table_path(workspace, table)))


@dg.asset(group_name=GROUP, kinds=KINDS, deps=["studies"])
@for_every_member
def subsets(
    config: SubsetsConfig,  # type: ignore[valid-type]
    workspace: WorkspaceResource,
) -> dg.MaterializeResult[Any]:
    """The least label fraction that holds each image of the train split: 1 % of the patients lie within 10 %."""
    settings = settings_of(config, SubsetsSettings)
    table, presence = write_subsets(workspace.plain(), settings)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "seed": settings.seed,
            "images": previews.counts(table, "fraction"),
            "labels": previews.head(presence, presence.column_names, presence.num_rows),
            **identify(workspace.plain()),
        },
        data_version=_version_of(workspace.plain(), "subsets"),
    )


def _preview_shards(workspace: Workspace, plan: Plan) -> Metadata:
    folder, columns = workspace.folder("shards"), ["image_id", "study_id", "split", "view"]

    def read(columns: Sequence[str]) -> Iterator[pa.Table]:
        return (batches.read_batches(folder, part, columns, verified=False) for part in plan.parts())

    return {
        "size": plan.settings["size"],
        "splits": previews.counts(read(["split", "view"]), "split", "view"),
        "preview": previews.head(next(read(columns)), columns),
        "megabytes": sum(batches.size_of(folder, batch) for batch in plan.batches) / 1e6,
    }


def _keep_version(workspace: Workspace, run: str) -> Metadata:
    """What was written is what the later steps of this run read, whatever other runs write meanwhile."""
    state = keep_pool(workspace) if workspace.is_pool else {"version": take_version(workspace)}
    pin(workspace, run, state)
    return state


shards = batched_asset(
    SHARDS,
    "shards",
    "Image-report pairs in Parquet shards, with the annotated regions beside them; the digest of what the shards say "
    "is the data version. All tables together are kept as a version, which the later steps of the run read.",
    _preview_shards,
    _keep_version,
)


def _specs(table: str, descriptions: dict[str, str], first_also_reads: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=table,
            additional_deps=None if number else [first_also_reads],
            blocking=name not in checks.WARNINGS,
            description=description,
        )
        for number, (name, description) in enumerate(descriptions.items())
    ]


@dg.multi_asset_check(specs=_specs("studies", checks.STUDIES_CHECKS, "rejects"))
@for_every_member
def studies_checks(workspace: WorkspaceResource) -> Iterator[dg.AssetCheckResult]:
    """The two tables against the archive, and the splits."""
    for result in checks.check_studies(workspace.plain()):
        metadata = {**result.figures, **identify(workspace.plain())}
        if result.name == checks.NOTHING_LOST:
            metadata["reasons"] = previews.counts(checks.read_reject_reasons(workspace.plain()), "stage", "reason")
        yield as_check_result(result, dg.AssetKey("studies"), metadata)


@dg.multi_asset_check(specs=_specs("shards", checks.SHARDS_CHECKS, "studies"))
@for_every_member
def shards_checks(workspace: WorkspaceResource) -> Iterator[dg.AssetCheckResult]:
    """What training is about to read."""
    for result in checks.check_shards(workspace.plain()):
        yield as_check_result(result, dg.AssetKey("shards"), {**result.figures, **identify(workspace.plain())})


def as_check_result(result: CheckResult, key: dg.AssetKey, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """A result of `ingestion.checks` for Dagster's pages."""
    warns = result.name in checks.WARNINGS
    return dg.AssetCheckResult(
        check_name=result.name,
        asset_key=key,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=result.description or None,
        metadata=metadata,
    )
