"""Decodes of a batch of images those that are new, and takes the others from the batch that counted before.

Views that are asked for later join the studies of all batches; to decode every image again would take hours. What comes
out is what decoding all images would give, so none of this is a part of the version of the code of the stage `images`.
A former batch is used only where its fingerprint is the one that the present code and settings give for its images, and
of it the images whose names, size and time are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.tables import STAMPS
from ingestion.inventory import IMAGES, describe_sources, images_aspect
from ingestion.stages import images
from store import batches
from store.code import code_version
from store.remote import mirror
from store.seals import is_intact

if TYPE_CHECKING:
    from ingestion.stage import Work
    from store.batches import Batch, Computed

STAGE, UPSTREAM = "images", "inventory"


def compute(work: Work) -> Computed:
    """What `images.decode` gives for all images of a batch."""
    studies = pq.read_table(work.inputs[UPSTREAM])
    former = _find_former(work)
    if former is None:
        return images.decode(work, studies)
    inventory, *outputs = _files(work, former)
    known = pc.is_in(_sources(studies)[IMAGES], value_set=_sources(pq.read_table(inventory))[IMAGES].combine_chunks())
    decoded = images.decode(work, studies.filter(pc.invert(known)))
    kept = studies.filter(known)["image_id"].combine_chunks()
    order = studies["image_id"].combine_chunks()
    return tuple(_join(path, kept, new, order) for path, new in zip(outputs, decoded, strict=True))  # type: ignore[return-value]


def _find_former(work: Work) -> Batch | None:
    """The batch of this name that counts now, if the present code makes it so of its images with these settings."""
    settings, known = _read_former(work.workspace.folder(STAGE))
    former = known.get(work.batch)
    if former is None or settings != dict(work.settings):
        return None
    inventory, output, _ = _files(work, former)
    if not is_intact(inventory) or not is_intact(output) or not all(map(mirror.fetch, (inventory, output))):
        return None
    read = {UPSTREAM: images_aspect(_sources(pq.read_table(inventory)))}
    made = batches.fingerprint_batch(STAGE, code_version(*images.CODE), work.settings, read)
    return former if made == former.fingerprint else None


def _read_former(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Batch]]:
    """Settings and batches, by name, of the plan that counts. Read once in a process as long as it is the same file."""
    state = tuple((path.stat().st_ino, path.stat().st_ctime_ns) for path in folder.glob(f"{Path(batches.PLAN).stem}.*"))
    return _read_plan(folder, state)


@lru_cache(maxsize=1)
def _read_plan(folder: Path, state: tuple[Any, ...]) -> tuple[Mapping[str, Any], Mapping[str, Batch]]:
    plan = batches.read_last_plan(folder, lambda _: None)
    return plan.settings, {batch.name: batch for batch in plan.batches}


def _files(work: Work, batch: Batch) -> tuple[Path, Path, Path]:
    """The studies of a batch, its images, and its rejects."""
    folder = work.workspace.folder(STAGE)
    inventory = batches.output_path(work.workspace.folder(UPSTREAM), batch.inputs[UPSTREAM])
    return inventory, batches.output_path(folder, batch.fingerprint), batches.rejects_path(folder, batch.fingerprint)


def _sources(studies: pa.Table) -> pa.Table:
    """The digests of what decoding reads of each image."""
    return describe_sources(studies.drop_columns(STAMPS.names), studies.select(STAMPS.names))


def _join(former: Path, kept: pa.Array, new: pa.Table, order: pa.Array) -> pa.Table:
    """The rows `kept` of a former file and the `new` ones, in the order of the image ids `order`."""
    table = pq.read_table(former)
    joined = pa.concat_tables([table.filter(pc.is_in(table["image_id"], value_set=kept)).cast(new.schema), new])
    return joined.take(pc.sort_indices(pc.index_in(joined["image_id"], value_set=order)))
