"""Stage `shards`: image-report pairs of a batch, ready for training, and the manifest over all batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import batches

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from ingestion.stage import Work
    from ingestion.workspace import Workspace
    from store.batches import Computed, Plan

CODE = ("ingestion.stages.shards",)


def imply(_: Mapping[str, Any], upstream: Mapping[str, Plan]) -> Mapping[str, Any]:
    """What every shard depends on: the size of the images, the vocabulary, and whose sentences the triplets count."""
    from report_parsing.vocabulary import ENTITIES, POSITIONS

    return {
        "size": upstream["images"].settings["size"],
        "entities": list(ENTITIES),
        "positions": list(POSITIONS),
        "has_sentences": not upstream["triplets"].settings.get("radgraph"),
    }


def compute(work: Work) -> Computed:
    """Join the images, studies, reports and triplets of one batch."""
    from shards.writer import build_shard

    tables = {name: pq.read_table(path) for name, path in work.inputs.items()}
    studies, images, reports = tables["inventory"], tables["images"], tables["reports"]
    usable = pc.and_(
        pc.is_in(studies["image_id"], value_set=images["image_id"].combine_chunks()),
        pc.is_in(studies["study_id"], value_set=reports["study_id"].combine_chunks()),
    )
    studies = studies.filter(usable)
    images = images.filter(pc.is_in(images["image_id"], value_set=studies["image_id"].combine_chunks()))
    given = (work.settings[name] for name in ("entities", "positions", "size", "has_sentences"))
    return build_shard(studies, images, reports, tables["triplets"], *given), None


def write(table: pa.Table, path: Path) -> None:
    """Write one shard."""
    from shards.writer import write_shard

    write_shard(table, path)


def finish(workspace: Workspace, plan: Plan) -> Mapping[str, Any]:
    """Write the manifest over all shards; its digest is the data version."""
    from shards.writer import write_manifest

    folder, settings = workspace.folder("shards"), plan.settings
    decoding = {**batches.read_plan(workspace.folder("images")).settings}
    del decoding["size"]
    paths = [batches.output_path(folder, batch.fingerprint) for batch in plan.batches]
    vocabulary = (settings["entities"], settings["positions"])
    cohort = workspace.cohort_name()
    return {"data_version": write_manifest(folder, paths, *vocabulary, settings["size"], cohort, decoding)}
