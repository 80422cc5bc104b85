"""A small picture of some decoded images, so that people see what a network will see; doubtful ones first.

An image is doubtful if it was shown over the range of its pixels, or if `ingestion.stages.doubts` says why.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import batches

if TYPE_CHECKING:
    from store.batches import Batch, Plan

COLUMNS = ("display_fallback", "doubt")  # of the images, which make one doubtful where they are not empty
TILE, ACROSS, TILES = 64, 8, 16  # side of an image in pixels, images in a row, and in all
MOST_BATCHES = 4  # that doubtful images are taken from, and as many for others


def count_doubts(images: Iterable[pa.Table]) -> dict[str, int]:
    """Images by each fallback of their display, and by each doubt, of COLUMNS, a table after another."""
    counts: Counter[str] = Counter()
    for table in images:
        for column, prefix in (("display_fallback", "display_fallback: "), ("doubt", "doubtful: ")):
            for row in pc.value_counts(table[column]).to_pylist():
                if row["values"]:
                    counts[prefix + row["values"]] += row["counts"]
    return dict(counts)


def make_contact_sheet(folder: Path, plan: Plan) -> bytes:
    """A PNG of up to TILES images of the batches in `folder`, doubtful ones first; empty where there is no image.

    The others are drawn at random, the same for the same images. Images that say that annotation is burned into their
    pixels are left out, and a name in others cannot be read at this size.
    """
    shuffled = list(plan.batches)
    random.Random(plan.version()).shuffle(shuffled)
    doubtful: list[bytes] = []
    others: list[bytes] = []
    for pick, wanted in ((doubtful, True), (others, False)):
        used = 0
        for batch in shuffled:
            if len(pick) >= TILES or used >= MOST_BATCHES:
                break
            found = _read_tiles(folder, batch, wanted, TILES - len(pick))
            pick += found
            used += bool(found)
    share = TILES // 2  # of doubtful ones, where there are as many others
    first = doubtful[: max(share, TILES - len(others))]
    tiles = (first + others)[:TILES]
    return _draw(tiles) if tiles else b""


def _read_tiles(folder: Path, batch: Batch, doubtful: bool, most: int) -> list[bytes]:
    """Pixels of some images of a batch that are doubtful, or that are not."""
    table = pq.read_table(batches.open_batch(folder, batch), columns=[*COLUMNS, "burned_in"])
    is_doubtful = pc.or_(pc.not_equal(table["display_fallback"], ""), pc.not_equal(table["doubt"], ""))
    plain = pc.not_equal(pc.fill_null(table["burned_in"], False), True)
    keep = pc.and_(plain, is_doubtful if doubtful else pc.invert(is_doubtful))
    rows = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
    drawn = random.Random(batches.output_path(folder, batch.fingerprint).name)
    chosen = sorted(drawn.sample(rows.tolist(), min(most, len(rows))))
    pixels = pq.read_table(batches.open_batch(folder, batch), columns=["pixels"])["pixels"] if chosen else []
    return [pixels[row].as_py() for row in chosen]


def _draw(squares: Sequence[bytes]) -> bytes:
    """A PNG of square images, small, side by side."""
    import cv2

    tiles = []
    for image in squares:
        square = np.frombuffer(image, np.uint8)
        side = int(len(square) ** 0.5)
        tiles.append(cv2.resize(square.reshape(side, side), (TILE, TILE), interpolation=cv2.INTER_AREA))
    blank = [np.zeros((TILE, TILE), np.uint8)] * (-len(tiles) % ACROSS)
    rows = np.array(tiles + blank).reshape(-1, ACROSS, TILE, TILE)
    sheet = rows.transpose(0, 2, 1, 3).reshape(-1, ACROSS * TILE)
    return cv2.imencode(".png", sheet)[1].tobytes()
