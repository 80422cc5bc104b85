"""A small picture of some decoded images, so that people see what a network will see; doubtful ones first.

An image is doubtful if it was shown over the range of its pixels, has little contrast, or seems inverted. Doubtful
images are kept and learned from like all others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import batches

if TYPE_CHECKING:
    from imaging.decode import DecodedImage
    from store.batches import Plan

COLUMNS = ("display_fallback", "doubt")  # of the images, which make one doubtful where they are not empty
TILE, ACROSS, TILES = 64, 8, 16  # side of an image in pixels, images in a row, and in all
MOST_BATCHES = 4  # that doubtful images are taken from, and as many for others
LOW_CONTRAST, INVERTED = "low contrast", "seems inverted"
LEAST_DEVIATION = 15.0  # standard deviation of the grey levels; of 586 public radiographs all but three have more
LEAST_INVERSION = 10.0  # grey levels; finds 98 % of those radiographs once inverted, and 1 % as they are


def find_doubt(image: DecodedImage) -> str:
    """Why an image may not look as a radiograph should; empty where it does."""
    from imaging.letterbox import Frame

    shown = Frame.fit(image.height, image.width, len(image.pixels)).cut(image.pixels).astype(np.float32)
    if shown.std() < LEAST_DEVIATION:
        return LOW_CONTRAST
    return INVERTED if _measure_inversion(shown) > LEAST_INVERSION else ""


def _measure_inversion(shown: np.ndarray) -> float:
    """How much brighter the upper corners and the lungs of a frontal radiograph are than they should be."""
    height, width = shown.shape
    corner = slice(0, max(1, height // 6)), max(1, width // 6)
    corners = np.concatenate([shown[corner[0], : corner[1]], shown[corner[0], -corner[1] :]])
    middle = shown[height // 4 : height - height // 4, width // 2 - width // 10 : width // 2 + width // 10 + 1]
    band = slice(height // 4, max(height // 4 + 1, height * 6 // 10))
    lungs = np.concatenate([shown[band, width // 6 : width * 2 // 5], shown[band, width * 3 // 5 : width * 5 // 6]], 1)
    if not middle.size or not lungs.size:
        return 0.0
    return float((corners.mean() - shown.mean()) / 2 - (middle.mean() - lungs.mean()))


def count_doubts(images: pa.Table) -> dict[str, int]:
    """Images by each fallback of their display, and by each doubt."""
    counts: dict[str, int] = {}
    for column, prefix in (("display_fallback", "display_fallback: "), ("doubt", "doubtful: ")):
        for value in images[column].to_pylist():
            if value:
                counts[prefix + value] = counts.get(prefix + value, 0) + 1
    return counts


def make_contact_sheet(folder: Path, plan: Plan) -> bytes:
    """A PNG of up to TILES images of the batches in `folder`, doubtful ones first; empty where there is no image.

    The others are drawn at random, the same for the same images. Images that say that annotation is burned into their
    pixels are left out, and a name in others cannot be read at this size.
    """
    names = [batch.fingerprint for batch in plan.batches]
    random.Random(plan.version()).shuffle(names)
    doubtful: list[bytes] = []
    others: list[bytes] = []
    for pick, wanted in ((doubtful, True), (others, False)):
        used = 0
        for name in names:
            if len(pick) >= TILES or used >= MOST_BATCHES:
                break
            found = _read_tiles(batches.output_path(folder, name), wanted, TILES - len(pick))
            pick += found
            used += bool(found)
    share = TILES // 2  # of doubtful ones, where there are as many others
    first = doubtful[: max(share, TILES - len(others))]
    tiles = (first + others)[:TILES]
    return _draw(tiles) if tiles else b""


def _read_tiles(path: Path, doubtful: bool, most: int) -> list[bytes]:
    """Pixels of some images of a batch that are doubtful, or that are not."""
    table = pq.read_table(path, columns=[*COLUMNS, "burned_in"])
    is_doubtful = pc.or_(pc.not_equal(table["display_fallback"], ""), pc.not_equal(table["doubt"], ""))
    plain = pc.not_equal(pc.fill_null(table["burned_in"], False), True)
    keep = pc.and_(plain, is_doubtful if doubtful else pc.invert(is_doubtful))
    rows = np.flatnonzero(keep.to_numpy(zero_copy_only=False))
    chosen = sorted(random.Random(path.name).sample(rows.tolist(), min(most, len(rows))))
    pixels = pq.read_table(path, columns=["pixels"])["pixels"] if chosen else []
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
