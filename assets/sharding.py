"""Group `shards`: image-report pairs, ready for training, and their manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets import previews
from assets.batched import Metadata, Stage, Work, batched_asset
from assets.workspace import Workspace
from store import batches
from store.batches import Computed, Plan


def _settings(workspace: Workspace, _: Mapping[str, Any]) -> Mapping[str, Any]:
    from report_parsing.vocabulary import ENTITIES, POSITIONS

    size = batches.read_plan(workspace.folder("images")).settings["size"]
    return {"size": size, "entities": list(ENTITIES), "positions": list(POSITIONS)}


def _build(work: Work) -> Computed:
    from shards.writer import build_shard

    tables = {name: pq.read_table(path) for name, path in work.inputs.items()}
    studies, images, reports = tables["inventory"], tables["images"], tables["reports"]
    usable = pc.and_(
        pc.is_in(studies["image_id"], value_set=images["image_id"].combine_chunks()),
        pc.is_in(studies["study_id"], value_set=reports["study_id"].combine_chunks()),
    )
    studies = studies.filter(usable)
    images = images.filter(pc.is_in(images["image_id"], value_set=studies["image_id"].combine_chunks()))
    settings = work.settings
    shard = build_shard(
        studies,
        images,
        reports,
        tables["triplets"],
        settings["entities"],
        settings["positions"],
        settings["size"],
    )
    return shard, None


def _write(table: pa.Table, path: Path) -> None:
    from shards.writer import write_shard

    write_shard(table, path)


def _finish(workspace: Workspace, plan: Plan) -> Metadata:
    from shards.writer import write_manifest

    folder, settings = workspace.folder("shards"), plan.settings
    paths = [batches.output_path(folder, batch.fingerprint) for batch in plan.batches]
    cohort = workspace.cohort_name()
    digest = write_manifest(folder, paths, settings["entities"], settings["positions"], settings["size"], cohort)
    return {"data_version": digest}


def _preview(workspace: Workspace, plan: Plan) -> Metadata:
    folder = workspace.folder("shards")
    columns = ["image_id", "study_id", "split", "view"]
    paths = [batches.output_path(folder, batch.fingerprint) for batch in plan.batches]
    table = pa.concat_tables(pq.read_table(path, columns=columns) for path in paths)
    return {
        "size": plan.settings["size"],
        "splits": previews.counts(table, "split", "view"),
        "preview": previews.head(table, columns),
        "megabytes": sum(path.stat().st_size for path in paths) / 1e6,
    }


shards = batched_asset(
    Stage(
        name="shards",
        group="shards",
        description="Image-report pairs in Parquet shards; the digest of their manifest is the data version.",
        upstream=("inventory", "images", "reports", "triplets"),
        code=("shards.writer",),
        settings=_settings,
        compute=_build,
        write=_write,
        finish=_finish,
        preview=_preview,
    )
)
