"""Finds images twice: a perceptual hash of every image, and all pairs of images whose hashes nearly agree.

The hash is the difference hash (dHash), which keeps whether an image grows brighter from one cell of a coarse grid to the
next. Its usual 64 bits cannot tell chest radiographs apart, which are all alike at that scale: of 167,173 pairs of
images of different patients 253 differ in at most 4 bits, which copies do, too. Here 16 x 16 cells are compared with
their neighbours to the right and below, 512 bits. Measured on 579 images of ChestX-ray14 and covid-chestxray-dataset
(`python -m benchmarks.duplicates`), of these bits differ in

    images of different patients    65 in the closest pair; 67 in that of 3.1 million of the phantom
    copies of an image (99 % of them differ in at most)
                                   JPEG of quality 50: 20, brighter by 20 grey levels: 27, gamma 0.8: 15, equalised: 32,
                                   half the resolution: 12, shifted by a pixel: 29, by two: 50

so that a LIMIT of 32 finds copies and conversions of an image (the four that both collections hold, and nothing else),
but few crops: half of those that lose 2 % on every side differ in more than 40. As the counts fall towards the limit,
some ten of the 2 billion pairs between 5,000 and 400,000 images may be false: what is found is to be looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from evaluation.inference import PixelArray

CELLS = 16  # down and across
BITS = 2 * CELLS * CELLS
LIMIT = 32  # bits in which the hashes of one image may differ
LEAST_SHARE = (
    1 / 16
)  # of zeros and of ones among a direction's bits; below it an image is nearly blank (real ones: 0.1)
BLOCK = 4_000_000  # numbers held at once


def hash_images(images: PixelArray) -> np.ndarray:
    """(n, 2, BITS / 8) uint8 of grey squares (n, size, size) uint8: the hash of each image, and of it mirrored.

    A mirrored copy is a copy, as training may flip images.
    """
    if not len(images):
        return np.empty((0, 2, BITS // 8), np.uint8)
    step = max(1, BLOCK // images[:1].size)
    return np.concatenate([_hash_block(images[start : start + step]) for start in range(0, len(images), step)])


def has_structure(hashed: np.ndarray) -> np.ndarray:
    """(n,) bool: whether an image has structure. Blank images and mere gradients would be copies of each other."""
    shares = np.unpackbits(hashed[:, 0], axis=-1).reshape(len(hashed), 2, BITS // 2).mean(-1)
    return ((shares >= LEAST_SHARE) & (shares <= 1 - LEAST_SHARE)).all(-1)


def find_near_duplicates(seen: np.ndarray, tested: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """(pairs, 2) rows of `seen` and of `tested` images whose `hash_images` differ in at most `limit` bits, mirrored or not.

    Exact and in blocks. With bits as -1 and 1, the inner product of two hashes is BITS less twice their distance, so
    that a matrix product compares all pairs: 5,000 images with 400,000 in three minutes on one core.
    """
    rows, columns = np.flatnonzero(has_structure(seen)), np.flatnonzero(has_structure(tested))
    sides = [_unpack_signs(tested[columns, side]).T for side in (0, 1)]
    step, found = max(1, BLOCK // max(BITS, len(columns))), [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        agreement = np.maximum(*(_unpack_signs(seen[part, 0]) @ side for side in sides))
        near, to = np.nonzero(agreement >= BITS - 2 * limit)
        found.append(np.column_stack([part[near], columns[to]]))
    return np.concatenate(found)


def _hash_block(images: np.ndarray) -> np.ndarray:
    grid = _average_grid(images)
    return np.stack([_pack_bits(grid), _pack_bits(grid[..., ::-1])], axis=1)


def _average_grid(images: np.ndarray) -> np.ndarray:
    """(n, CELLS + 1, CELLS + 1) mean grey levels, rounded, so that what is uniform stays uniform."""
    borders = np.linspace(0, images.shape[-1], CELLS + 2)
    pixels = np.arange(images.shape[-1])
    overlap = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    shares = (overlap.clip(0) / np.diff(borders)[:, None]).astype(np.float32)
    return np.rint(shares @ images.astype(np.float32) @ shares.T).astype(np.int16)


def _pack_bits(grid: np.ndarray) -> np.ndarray:
    corner = grid[:, :-1, :-1]
    bits = np.stack([grid[:, :-1, 1:] > corner, grid[:, 1:, :-1] > corner], axis=1)
    return np.packbits(bits.reshape(len(grid), BITS), axis=-1)


def _unpack_signs(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1
