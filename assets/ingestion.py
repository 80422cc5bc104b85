"""Group `ingestion`: what is in the archive, the pixels, and what of it can be used."""

import atexit
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from assets import deidentification, previews
from assets.batched import Metadata, Stage, Work, batch_metadata, batched_asset
from assets.source import archive
from assets.workspace import PHANTOM, Workspace, one_sentence
from ingestion import inventory
from store import batches
from store.atomic import write_table
from store.batches import Computed, Plan

if TYPE_CHECKING:
    from imaging.pool import DecoderPool

GROUP = "ingestion"
ONLY_GREW = "only_grew"
NAMED_CHANGES = 100  # images by name; the counts are of all


class InventoryConfig(dg.Config):
    """How the archive is cut."""

    batch_size: int = Field(500, ge=1, description="Studies per batch, the unit of recomputation.")
    split: str = Field(
        "",
        description="Family of train, validate and test splits, where the cohort has several, such as official or "
        "80/10/10. Empty: its first.",
    )


@dg.asset(
    name="inventory",
    group_name=GROUP,
    kinds={"python", "parquet"},
    deps=[archive],
    check_specs=[
        dg.AssetCheckSpec(
            ONLY_GREW,
            asset="inventory",
            description="Since the last run images only came; none that was known changed or vanished.",
        )
    ],
)
def inventory_asset(
    context: dg.AssetExecutionContext, config: InventoryConfig, workspace: Workspace
) -> Iterator[dg.MaterializeResult[Any]]:
    """Every image of the archive, cut into batches of studies that stay the same when the archive grows.

    `computed` counts the batches that are new or changed since the last scan; all later stages follow it. Files
    that changed or vanished since then are counted and named: their batches are made anew, without what is gone.
    """
    log = context.log.info
    cohort = workspace.open_cohort(config.split)
    log(f"Listing the archive of {cohort.name} in {cohort.root}.")
    with one_sentence():
        scan = cohort.scan()
        log(f"Of {scan.source_rows} images {scan.studies.num_rows} can be used, as far as the archive's tables tell.")
        if not scan.studies.num_rows:
            raise dg.Failure(_nothing_usable(cohort.name, scan), allow_retries=False)
        found = inventory.take_inventory(workspace.folder("inventory"), cohort, scan, config.batch_size, log)
    changes = found.count_changes()
    log(
        f"Since the last run {changes['new']} images are new, {changes['changed']} changed and "
        f"{changes['vanished']} vanished."
    )
    yield dg.MaterializeResult(
        metadata={
            **batch_metadata(workspace.folder("inventory"), found.plan, found.computed),
            **changes,
            "changes": previews.head(found.changes, ("image_id", "change"), NAMED_CHANGES),
            "rejects": scan.rejects.num_rows,
            "source_rows": scan.source_rows,
            "split": cohort.split,
            "studies": len(pc.unique(scan.studies["study_id"])),
            "subjects": len(pc.unique(scan.studies["subject_id"])),
            "views and splits": previews.counts(scan.studies, "view", "split"),
        },
        check_results=[_only_grew(found)],
    )


def _nothing_usable(cohort: str, scan: Any) -> str:
    reasons = Counter(scan.rejects["reason"].to_pylist())
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"None of the {scan.source_rows} images in the archive of {cohort} can be used: {counts or 'it is empty'}."


def _only_grew(found: inventory.Inventory) -> dg.AssetCheckResult:
    changes = found.count_changes()
    old = found.changes.filter(pc.field("change") != inventory.NEW)
    return dg.AssetCheckResult(
        check_name=ONLY_GREW,
        passed=old.num_rows == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={**changes, "images": previews.head(old, ("image_id", "change"), NAMED_CHANGES)},
    )


class ImagesConfig(dg.Config):
    """What the radiographs are turned into."""

    size: int = Field(96, ge=32, le=1024, description="Side of the letterboxed square, pixels; the paper reads 224.")
    crop_borders: bool = Field(False, description="Cut off constant borders; boxes and masks do not follow.")
    reduced_jpeg_2000: bool = Field(
        False, description="Decode JPEG 2000 at a lower resolution: over 8 times faster, up to 12 of 255 levels off."
    )


@cache
def _decoders() -> "DecoderPool":
    """The decoder processes of this one, for all of its batches; they end with it."""
    from imaging.pool import DecoderPool

    pool = DecoderPool()
    atexit.register(pool.__exit__)
    return pool


def _decode(work: Work) -> Computed:
    from tqdm import tqdm

    from ingestion.batches_of_studies import decode_batch

    studies = pq.read_table(work.inputs["inventory"])
    with tqdm(total=studies.num_rows, unit="film", leave=False, disable=None) as bar:  # None: in a terminal only
        cohort = work.workspace.open_cohort()
        return decode_batch(cohort, studies, **work.settings, pool=_decoders(), on_film=bar.update)


def _preview_images(workspace: Workspace, plan: Plan) -> Metadata:
    folder = workspace.folder("images")
    rejects = batches.read_rejects(folder, plan)
    films = batches.read_batches(folder, plan, deidentification.COLUMNS)
    metadata: Metadata = {"size": plan.settings["size"], **deidentification.report(films)}
    if rejects is not None and rejects.num_rows:
        metadata["reject reasons"] = previews.counts(rejects, "reason")
    if workspace.cohort_name() == PHANTOM:
        first = pq.read_table(batches.output_path(folder, plan.batches[0].fingerprint), columns=["pixels"])
        if first.num_rows:
            metadata["first images"] = previews.contact_sheet(first["pixels"].slice(0, 16).to_pylist())
    return metadata


images = batched_asset(
    Stage(
        name="images",
        group=GROUP,
        description="Radiographs as letterboxed 8-bit squares; what cannot be read is rejected, and why. Of a DICOM "
        "header only an allow-list is kept; which identifying attributes were there is counted, never their values.",
        upstream=("inventory",),
        aspect=inventory.FILMS,
        code=("ingestion.batches_of_studies",),
        config=ImagesConfig,
        compute=_decode,
        preview=_preview_images,
    )
)


@dg.multi_asset(
    group_name=GROUP,
    specs=[
        dg.AssetSpec(
            "studies",
            deps=["inventory", "images", "reports"],
            kinds={"python", "parquet"},
            description="The images that can be used: scanned, decoded and with a report that can be read.",
        ),
        dg.AssetSpec(
            "rejects",
            deps=["inventory", "images", "reports"],
            kinds={"python", "parquet"},
            description="The images that cannot be used, which stage found out, and why; a row per image.",
        ),
    ],
)
def usable(workspace: Workspace) -> Iterator[dg.MaterializeResult[Any]]:
    """Every image of the archive ends in exactly one of the two tables."""
    studies, rejects = split_usable(workspace)
    write_table(studies, workspace.folder("studies") / "studies.parquet")
    write_table(rejects, workspace.folder("rejects") / "rejects.parquet")
    yield dg.MaterializeResult(
        asset_key="studies",
        metadata={
            "dagster/row_count": studies.num_rows,
            "subjects": len(pc.unique(studies["subject_id"])),
            "splits": previews.counts(studies, "split", "view"),
            "preview": previews.head(studies, ("image_id", "study_id", "view", "split")),
        },
    )
    yield dg.MaterializeResult(
        asset_key="rejects",
        metadata={
            "dagster/row_count": rejects.num_rows,
            "reasons": previews.counts(rejects, "stage", "reason"),
            "preview": previews.head(rejects, ("image_id", "stage", "reason", "detail")),
        },
    )


def split_usable(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """The usable rows of the scan, and a reject per other image: the first stage that refused it says why."""
    scanned = batches.read_batches(workspace.folder("inventory"))
    found = [
        pq.read_table(workspace.folder("inventory") / inventory.REJECTS),
        batches.read_rejects(workspace.folder("images")),
        batches.read_rejects(workspace.folder("reports")),
    ]
    kept, seen = [], pa.array([], pa.string())
    for table in found:
        if table is None:
            continue
        new = table.filter(pc.invert(pc.is_in(table["image_id"], value_set=seen)))
        seen = pa.concat_arrays([seen, new["image_id"].combine_chunks()])
        kept.append(new)
    rejects = pa.concat_tables(kept)
    usable = scanned.filter(pc.invert(pc.is_in(scanned["image_id"], value_set=seen)))
    return usable.sort_by("image_id"), rejects.sort_by("image_id")
