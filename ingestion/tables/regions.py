"""The regions that experts marked on images (masks, outlines), in squares like those of the shards, kept beside them.

The table is made once for each version of the studies, the shards and the mask files. Its metadata holds a digest of
what it says, and of the boxes in the studies table: results on a dataset depend on both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import batches
from store.batches import AGAIN
from store.digests import fingerprint
from store.remote import mirror
from store.seals import expect_intact, is_intact, write_sealed_table

if TYPE_CHECKING:
    from imaging.pool import DecoderPool
    from ingestion.workspace import Workspace

FOLDER, FILE = "regions", "regions.parquet"
MADE_FROM, CONTENT = b"made_from", b"content"  # keys of the table's metadata
PRESENT = 1.0
REGIONS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # empty: what is wrong concerns every label of the image
        pa.field("bits", pa.binary()),  # size * size bits, row by row
        pa.field("error", pa.string()),  # why there is no mask
    ]
)


def update_regions(workspace: Workspace) -> None:
    """Bring the table up to date; without shards there is none, and that of a kept version stays as it is."""
    from shards.reader import ShardReader
    from store.code import code_version

    shards, path = workspace.folder("shards"), workspace.folder("studies") / "studies.parquet"
    if workspace.version or not (shards / "manifest.json").exists() or not mirror.fetch(path):
        return
    reader = ShardReader(shards)
    sizes = reader.columns(None, ["image_id", "height", "width"])
    columns = ["image_id", "image_path", "labels", "masks", "shapes", "boxes"]
    studies = pq.read_table(expect_intact(path, AGAIN), columns=columns)
    unknown = sizes["image_id"].filter(pc.invert(pc.is_in(sizes["image_id"], studies["image_id"].combine_chunks())))
    marked = studies.filter(pc.is_in(studies["image_id"], sizes["image_id"].combine_chunks()))
    rows = [row for row in marked.filter(_are_marked(marked)).to_pylist() if row["masks"] or row["shapes"]]
    boxes = [[row["image_id"], row["boxes"]] for row in marked.filter(pc.is_valid(marked["boxes"])).to_pylist()]
    files = sorted({mask["path"] for row in rows for mask in row["masks"] or ()})
    root = workspace.root() if files else Path()
    stamps = _listed_stamps(workspace, root, files)
    source = fingerprint(
        reader.manifest.digest, unknown.to_pylist(), rows, boxes, files, list(stamps.values()), code_version(__name__)
    )
    target = workspace.folder(FOLDER) / FILE
    mirror.fetch(target)
    if is_intact(target) and (pq.read_schema(target).metadata or {}).get(MADE_FROM) == source.encode():
        return
    shapes = dict(
        zip(
            sizes["image_id"].to_pylist(),
            zip(sizes["height"].to_pylist(), sizes["width"].to_pylist(), strict=True),
            strict=True,
        )
    )
    table = make_regions(rows, root, reader.manifest.size, shapes, stamps, reader.manifest.squash)
    missing = [_row(name, "", error=f"Image {name} is not in {path.name}; rebuild the shards from it.")
               for name in unknown.to_pylist()]  # fmt: skip
    table = pa.concat_tables([table, pa.Table.from_pylist(missing, REGIONS)])
    content = _digest(table, boxes)
    write_sealed_table(table.replace_schema_metadata({MADE_FROM: source.encode(), CONTENT: content.encode()}), target)


def expect_masks(workspace: Workspace) -> None:
    """OutageError unless the mask files of all studies are what they were when the archive was listed."""
    from cohorts.archive.listed import explain_loss
    from cohorts.archive.paths import file_stamps

    listed = _read_stamps(workspace)
    now = file_stamps(workspace.root(), list(listed)) if listed else []
    for (path, stamp), found in zip(listed.items(), now, strict=True):
        if found != stamp:
            raise explain_loss(workspace.root(), path)


def make_regions(
    studies: Sequence[Mapping[str, Any]],
    root: Path,
    size: int,
    shapes: Mapping[str, tuple[int, int]],
    stamps: Mapping[str, str] | None = None,
    squash: bool = False,
) -> pa.Table:
    """One mask for every (image, label) of `studies` that has a region; mask files lie under `root`.

    Masks and outlines that share a label within one image are joined. A region counts where the label is present, or
    where the image has no labels at all and the region is not empty. `shapes` has the height and width of each image,
    `stamps` the state of each mask file when the archive was listed; `squash` says how images were fitted into squares.
    Errors of a storage, MachineError, and OutageError where a file is in another state, are raised: no mask is lost
    because of an outage.
    """
    from concurrent.futures import ThreadPoolExecutor

    from imaging.pool import DecoderPool

    with DecoderPool() as pool, ThreadPoolExecutor(pool.workers) as threads:
        painter = _Painter(root, size, squash, pool, stamps or {})
        tasks = [(study, shapes[study["image_id"]]) for study in studies]
        rows = threads.map(lambda task: list(_rows(painter, *task)), tasks)
        return pa.Table.from_pylist([row for found in rows for row in found], REGIONS)


class _NoMaskError(Exception):
    """A region that cannot be made into a mask. The message is a sentence."""


@dataclass(frozen=True)
class _Painter:
    """Makes masks of regions. Mask files under `root` are decoded by the `pool`, like every image of an archive."""

    root: Path
    size: int
    squash: bool
    pool: DecoderPool
    stamps: Mapping[str, str]  # of the files when the archive was listed
    drawing: Lock = field(default_factory=Lock)  # held because a shape takes many bytes per pixel of its image

    def join(self, regions: Sequence[Mapping[str, Any]], image_path: str, shape: tuple[int, int]) -> np.ndarray:
        """The union of regions, (size, size) bool; _NoMaskError where one cannot be read or drawn."""
        joined = np.zeros((self.size, self.size), bool)
        for region in regions:
            joined |= self._draw(region, image_path, *shape) if "kind" in region else self._read(region, *shape)
        return joined

    def _draw(self, region: Mapping[str, Any], image_path: str, height: int, width: int) -> np.ndarray:
        from cohorts.dataset import class_of
        from imaging.letterbox import letterbox_mask
        from imaging.shapes import ShapeError, shape_mask

        try:
            with self.drawing:
                mask = shape_mask(region["kind"], region["points"], height, width)
                return letterbox_mask(mask > 0, self.size, self.squash)
        except ShapeError as error:
            name = class_of(region["label"])  # a phrase is text of a report
            raise _NoMaskError(f"The {name} of {image_path} cannot be drawn: {error}") from error

    def _read(self, region: Mapping[str, Any], height: int, width: int) -> np.ndarray:
        from cohorts.archive.listed_images import read_listed
        from imaging.decode import MaskOptions
        from imaging.errors import ImageError

        path, options = region["path"], MaskOptions(self.size, region["threshold"], height, width, self.squash)
        mask = read_listed(self.root, path, self.stamps.get(path), lambda file: self.pool.decode_mask(file, options))
        if isinstance(mask, ImageError) and mask.reason == "path_outside_root":
            raise _NoMaskError(f"The file {path} lies outside of {self.root}; correct the studies table.")
        if isinstance(mask, ImageError):
            raise _NoMaskError(f"The file {path} under {self.root} cannot be read: {mask.detail}")
        return mask


def _rows(painter: _Painter, study: Mapping[str, Any], shape: tuple[int, int]) -> Iterator[dict[str, Any]]:
    image, labels = study["image_id"], dict(study["labels"] or ())
    regions = [*(study["masks"] or ()), *(study["shapes"] or ())]
    for label in dict.fromkeys(region["label"] for region in regions):
        present = labels.get(label) == PRESENT
        if not present and labels:
            continue
        own = [region for region in regions if region["label"] == label]
        try:
            mask = painter.join(own, study["image_path"], shape)
        except _NoMaskError as error:
            yield _row(image, label, error=str(error))
            continue
        if present or mask.any():
            yield _row(image, label, np.packbits(mask).tobytes())


def _row(image: str, label: str, bits: bytes | None = None, error: str | None = None) -> dict[str, Any]:
    return {"image_id": image, "label": label, "bits": bits, "error": error}


def _are_marked(studies: pa.Table) -> pa.ChunkedArray:
    return pc.or_(pc.is_valid(studies["masks"]), pc.is_valid(studies["shapes"]))


def _listed_stamps(workspace: Workspace, root: Path, files: Sequence[str]) -> dict[str, str]:
    """The stamp of each of `files` when the archive was listed, or now where the listing of an older home has none."""
    from cohorts.archive.paths import file_stamps

    listed = _read_stamps(workspace) if files else {}
    others = [path for path in files if path not in listed]
    now = dict(zip(others, file_stamps(root, others) if others else (), strict=True))
    return {path: listed[path] if path in listed else now[path] for path in files}


def _read_stamps(workspace: Workspace) -> dict[str, str]:
    """The stamp of each mask file in the inventory; empty where it has none."""
    folder = workspace.folder("inventory")
    plan = batches.read_plan(folder)
    if not plan.batches:
        return {}
    table = batches.read_batches(folder, plan, ["masks", "mask_stamps"])
    if "mask_stamps" not in table.column_names:
        return {}
    rows = table.filter(pc.is_valid(table["masks"])).to_pylist()
    pairs = [pair for row in rows for pair in zip(row["masks"], row["mask_stamps"], strict=True)]
    return {mask["path"]: stamp for mask, stamp in pairs}


def _digest(table: pa.Table, boxes: Sequence[Any]) -> str:
    """Of what the table says, in any order of its rows, and of the boxes."""
    digest = hashlib.sha256()
    for row in sorted(table.to_pylist(), key=lambda row: (row["image_id"], row["label"])):
        digest.update(repr(sorted(row.items())).encode())
    return fingerprint(digest.hexdigest(), sorted(boxes, key=lambda entry: str(entry[0])))
