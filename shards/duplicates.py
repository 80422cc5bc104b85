"""Finds copies of images by a perceptual hash: pairs of images whose hashes nearly agree.

The hash is the difference hash (dHash). It keeps whether an image grows brighter from one block of a coarse grid to the
next. The usual 64 bits cannot tell chest radiographs apart, since these look alike at that scale: of 167,173 pairs of
images of different patients, 253 differ in at most 4 bits, as copies do. This hash compares 16 x 16 blocks with their
neighbours to the right and below, which gives 512 bits. On 579 images of ChestX-ray14 and covid-chestxray-dataset
(`python -m benchmarks.duplicates`), of these bits differ in

    images of different patients    65 in the closest pair; 67 in that of 3.1 million of the phantom
    copies of an image (99 % of them differ in at most)
                                   JPEG of quality 50: 20, brighter by 20 grey levels: 27, gamma 0.8: 15, equalised: 32,
                                   half the resolution: 12, shifted by a pixel: 29, by two: 50

A LIMIT of 32 finds copies and conversions of an image (the four that both collections hold, and nothing else). It finds
few crops: half of those that lose 2 % on every side differ in more than 40 bits. Some ten of the 2 billion pairs
between 5,000 and 400,000 images may be false, so that a person should look at each pair found.
"""

from __future__ import annotations

import numpy as np

from shards.pixels import PixelArray

GRID = 16  # down and across
BITS = 2 * GRID * GRID
LIMIT = 32  # bits in which the hashes of one image may differ
LEAST_SHARE = 1 / 16  # of zeros and of ones among the bits of a direction; nearly blank images have less (real: 0.1)
BLOCK = 4_000_000  # numbers held at once


def hash_images(images: PixelArray) -> np.ndarray:
    """(n, 2, BITS / 8) uint8 of grey squares (n, size, size) uint8: the hash of each image, and of it mirrored.

    Mirrored copies count as copies, since training may flip images.
    """
    if not len(images):
        return np.empty((0, 2, BITS // 8), np.uint8)
    step = max(1, BLOCK // images[:1].size)
    return np.concatenate([_hash_block(images[start : start + step]) for start in range(0, len(images), step)])


def has_structure(hashed: np.ndarray) -> np.ndarray:
    """(n,) bool: whether an image has structure. Blank images and gradients would count as copies of each other."""
    shares = np.unpackbits(hashed[:, 0], axis=-1).reshape(len(hashed), 2, BITS // 2).mean(-1)
    return ((shares >= LEAST_SHARE) & (shares <= 1 - LEAST_SHARE)).all(-1)


def find_near_duplicates(seen: np.ndarray, tested: np.ndarray, limit: int = LIMIT) -> np.ndarray:
    """(pairs, 2) rows of `seen` and of `tested` images whose hashes differ in at most `limit` bits, mirrored or not.

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
    """(n, GRID + 1, GRID + 1) mean grey levels, rounded, so that uniform areas stay uniform."""
    borders = np.linspace(0, images.shape[-1], GRID + 2)
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
