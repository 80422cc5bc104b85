"""Perceptual hashes of the images of a dataset, computed once for each version of its shards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ingestion.workspace import Workspace
from shards import duplicates
from shards.reader import ShardReader
from store.arrays import keep_arrays
from store.code import code_version
from store.digests import fingerprint


def hash_split(
    workspace: Workspace, reader: ShardReader, split: str, log: Callable[[str], object] = lambda _: None
) -> np.ndarray:
    """(n, 2, BITS / 8) uint8 hashes of the images of a split in the order of `reader`, from the cache if known."""
    key = {"data_version": reader.manifest.digest, "split": split, "code": code_version("shards.duplicates")}
    path = workspace.folder("hashes") / f"{fingerprint(key)}.npz"
    (hashed,) = keep_arrays(path, key, lambda: [duplicates.hash_images(reader.pixels(split))], log)
    return hashed
