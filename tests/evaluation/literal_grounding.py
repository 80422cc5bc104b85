"""The grounding protocol pixel by pixel, one image at a time, and random cases to hold against it."""

import numpy as np
from scipy import ndimage

from evaluation.metrics.truth import Masks


def by_key(values):
    return {(value.metric, value.class_name): value for value in values}


def make(rng, grid, size, rows=6, classes=2, share=0.3):
    """Random maps with ties; masks of random blocks, some empty, of some pairs."""
    maps = rng.integers(0, 5, (rows, classes, grid, grid)) / 4
    pairs = np.array([(r, c) for r in range(rows) for c in range(classes) if rng.random() < 0.8])
    pairs = pairs.reshape(-1, 2)
    blocks = rng.random((len(pairs), 3, 3)) < share
    line = np.arange(size) * 3 // size
    return maps, Masks(pairs[:, 0], pairs[:, 1], blocks[:, line[:, None], line])


def enlarge(cells, size):
    line = np.arange(size) * cells.shape[-1] // size
    return cells[line[:, None], line]


def literal(attention, mask, threshold, normalise):
    """One image, pixel by pixel, as the protocol says it."""
    low, high = attention.min(), attention.max()
    if normalise:
        attention = (attention - low) / (high - low) if high > low else np.zeros_like(attention)
    grid, size = len(attention), len(mask)
    big = enlarge(attention, size)
    hit = bool((mask & (big == big.max())).any())
    touched = [mask[enlarge(np.arange(grid**2).reshape(grid, grid) == cell, size)].any() for cell in range(grid**2)]
    region = big > threshold
    shared, union = (region & mask).sum(), (region | mask).sum()
    total = region.sum() + mask.sum()
    predicted, predictions = ndimage.label(region)
    true, truths = ndimage.label(mask)
    good = np.zeros((predictions, truths), bool)
    for i in range(predictions):
        for j in range(truths):
            a, b = predicted == i + 1, true == j + 1
            good[i, j] = (a & b).sum() / (a | b).sum() >= 0.1
    pieces = int(good.any(1).sum()), predictions, int(good.any(0).sum()), truths
    return (
        hit,
        np.mean(touched),
        2 * shared / total if total else 0.0,
        shared / union if union else 0.0,
        pieces,
    )
