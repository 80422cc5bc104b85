"""The annotated regions of images, read from the table that `ingestion.tables.regions` keeps beside the shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.errors import EvaluationError


@dataclass(frozen=True)
class Masks:
    """The annotated regions, of the (image, class) pairs that have one."""

    rows: np.ndarray  # (m,) index of the image
    columns: np.ndarray  # (m,) index of the class
    pixels: np.ndarray  # (m, size, size) bool, fitted into the square like the image

    def __len__(self) -> int:
        return len(self.rows)

    def middle(self, side: int | None) -> Masks:
        """What lies in the middle square of `side` pixels, where a network looks that crops; None: all."""
        if side is None:
            return self
        start = (self.pixels.shape[-1] - side) // 2
        return replace(self, pixels=self.pixels[:, start : start + side, start : start + side])


def select_masks(regions: pa.Table, image_ids: Sequence[str] | np.ndarray, classes: Sequence[str], size: int) -> Masks:
    """The masks of `classes` on the images `image_ids`, in the order of the images, then of the classes.

    `regions` has the columns of `ingestion.tables.regions.REGIONS`. EvaluationError where one could not be read.
    """
    ids, names = pa.array([str(name) for name in image_ids], pa.string()), pa.array(list(classes), pa.string())
    wanted = pc.is_in(regions["image_id"], ids)
    failed = regions.filter(pc.and_(wanted, pc.is_valid(regions["error"])))
    for row in failed.to_pylist():
        if row["label"] in ("", *classes):
            raise EvaluationError(row["error"])
    found = regions.filter(pc.and_(wanted, pc.is_in(regions["label"], names)))
    rows = _positions(found["image_id"], ids)
    columns = _positions(found["label"], names)
    order = np.lexsort((columns, rows))
    packed = found["bits"].to_pylist()
    pixels = np.empty((len(order), size, size), bool)
    for place, index in enumerate(order.tolist()):
        pixels[place] = unpack_mask(packed[index], size)
    return Masks(rows[order], columns[order], pixels)


def unpack_mask(bits: bytes, size: int) -> np.ndarray:
    """(size, size) bool of a mask as the table of regions keeps it."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=size * size).reshape(size, size).astype(bool)


def _positions(values: pa.ChunkedArray, among: pa.Array) -> np.ndarray:
    return np.asarray(pc.index_in(values, among).to_numpy(), np.int64).reshape(-1)
