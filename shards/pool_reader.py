"""Reads the rows of a pool in the order of cohorts, and within a cohort of image ids, as `ShardReader` those of one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.pixels import Pixels
from shards.pool import Pool, is_pool
from shards.reader import ShardReader


class PoolReader:
    """The pool in `folder`, every byte of whose members' shards is compared with their digests first.

    Without `verify` they are taken as they are.
    """

    def __init__(self, folder: Path, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.manifest = Pool.load(self.folder, verify)
        self._readers = [ShardReader(self.manifest.shards_of(member), False) for member in self.manifest.members]

    def columns(self, split: str | None = None, names: Sequence[str] | None = None) -> pa.Table:
        """The columns `names`, or all but the pixels, of the rows of `split`, each in one chunk."""
        tables = [
            reader.columns(split, names).take(rows)
            for reader, rows in zip(self._readers, self._rows(split), strict=True)
        ]
        return pa.concat_tables(tables).combine_chunks()

    def pixels(self, split: str | None = None) -> Pixels:
        """The pixels of the rows of `split`, which stay in the files until they are read."""
        parts = [reader.pixels(split).take(rows) for reader, rows in zip(self._readers, self._rows(split), strict=True)]
        return Pixels.join(self.manifest.size, parts)

    def kinds(self, split: str | None = None) -> np.ndarray:
        """(rows,) the kind of view of each row of `split`, of imaging.dicom.views.KINDS."""
        rows = self._rows(split)
        return np.concatenate([reader.kinds(split)[own] for reader, own in zip(self._readers, rows, strict=True)])

    def cohorts(self, split: str | None = None) -> np.ndarray:
        """(rows,) which cohort each row is from."""
        names = [member.cohort for member in self.manifest.members]
        return np.repeat(names, [len(rows) for rows in self._rows(split)])

    def _rows(self, split: str | None) -> list[np.ndarray]:
        """Of each member the places of the rows that are used, among its rows of `split`."""
        return [
            np.flatnonzero(~pc.is_in(reader.columns(split, ["image_id"])["image_id"], dropped).to_numpy())
            for reader, dropped in zip(self._readers, self._dropped, strict=True)
        ]

    @cached_property
    def _dropped(self) -> list[pa.Array]:
        """Of each member the ids of the images that are left out."""
        table = self.manifest.read_left_out()
        return [
            table.filter(pc.equal(table["cohort"], member.cohort))["image_id"].combine_chunks()
            for member in self.manifest.members
        ]


Reader = ShardReader | PoolReader


def cohorts_of(reader: Reader, split: str) -> np.ndarray:
    """(rows,) the cohort that each row of a split is from."""
    if isinstance(reader, PoolReader):
        return reader.cohorts(split)
    return np.repeat([reader.manifest.cohort], len(reader.columns(split, ["split"])))


def open_reader(folder: Path, verify: bool = True) -> Reader:
    """The reader of a folder of shards, of one cohort or of a pool."""
    return PoolReader(folder, verify) if is_pool(folder) else ShardReader(folder, verify)
