"""Reads the rows of one split from a folder of shards into numpy arrays, and pixels only when they are needed.

Rows are sorted by image id, whatever the names of the shards and the division of the rows over them. So the order of
rows, like the data version, is part of the content.

The pixels of a row group lie uncompressed in one page of the file, at an offset that follows from the Parquet footer.
`shards.pixels` reads the pixels of any row with one read at its offset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imaging.dicom.views import kinds_of_views
from shards.errors import ShardError
from shards.files import open_shard
from shards.manifest import Manifest, ShardEntry
from shards.pixels import Pixels, pixel_offsets
from shards.schema import shard_schema

AT_ONCE = 8  # shards of a store that are read at the same time


class Triplets(NamedTuple):
    """All triplets of the rows as flat, equally long int64 arrays."""

    row: np.ndarray  # index into the rows of the data
    entity: np.ndarray  # index into the manifest's entities
    position: np.ndarray  # index into the manifest's positions
    exists: np.ndarray  # 1 present, 0 absent, -1 uncertain
    sentence: np.ndarray  # index into the sentences of the row; -1: not known


@dataclass(frozen=True)
class ShardData:
    """The rows of one split, in the order of their image ids."""

    image_ids: np.ndarray
    study_ids: np.ndarray
    subject_ids: np.ndarray
    splits: np.ndarray
    views: np.ndarray
    pixels: np.ndarray  # (n, size, size) uint8
    heights: np.ndarray
    widths: np.ndarray
    texts: list[str]
    sentences: list[list[dict[str, str]]]  # section and text
    triplets: Triplets
    labels: dict[str, np.ndarray]  # float32 (n,): 1 present, 0 absent, -1 uncertain, nan where the cohort is silent

    def __len__(self) -> int:
        return len(self.image_ids)


class ShardReader:
    """The shards of `folder`, every byte of which is compared with their digests first, once in a process.

    Without `verify` they are taken as they are.
    """

    def __init__(self, folder: Path, verify: bool = True) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.load(self.folder, verify)

    def read(self, split: str | None = None) -> ShardData:
        """Read all rows of `split`, or of all splits, pixels included; an unknown split has no rows."""
        pixels = self.pixels(split)
        return _build_data(self.columns(split), pixels.read(np.arange(len(pixels))))

    def columns(self, split: str | None = None, names: Sequence[str] | None = None) -> pa.Table:
        """The columns `names`, or all but the pixels, of the rows of `split`, each in one chunk."""
        schema = shard_schema(self.manifest.size)
        schema = schema.remove(schema.get_field_index("pixels"))
        schema = schema if names is None else pa.schema([schema.field(name) for name in names])
        tables, ids = [schema.empty_table()], []
        for table in self._tables(split, [*schema.names, "image_id", "split"]):
            table = table.filter(pa.array(_select_split(table, split)))
            tables.append(table.select(schema.names).cast(schema))
            ids.append(table["image_id"])
        return pa.concat_tables(tables).take(_sort_by_id(ids)).combine_chunks()

    def pixels(self, split: str | None = None) -> Pixels:
        """The pixels of the rows of `split`, which stay in the files until they are read."""
        size, offsets, ids = self.manifest.size, [], []
        for path, table in zip(self._paths_of(split), self._tables(split, ["image_id", "split"]), strict=True):
            kept = _select_split(table, split)
            offsets.append((path, pixel_offsets(path, size)[kept]))
            ids.append(table["image_id"].filter(pa.array(kept)))
        return Pixels(size, offsets, _sort_by_id(ids))

    def kinds(self, split: str | None = None) -> np.ndarray:
        """(rows,) the kind of view of each row of `split`, of imaging.dicom.views.KINDS."""
        table, kinds = self._kinds
        return kinds[_select_split(table, split)]

    @cached_property
    def _kinds(self) -> tuple[pa.Table, np.ndarray]:
        """Of all rows, as whether a view is said at all is a fact of all splits: the column `split`, and the kinds."""
        table = self.columns(None, ["split", "view"])
        return table.select(["split"]), np.array(kinds_of_views(table["view"].to_pylist()), dtype=object)

    def _shards_of(self, split: str | None) -> list[ShardEntry]:
        return [shard for shard in self.manifest.shards if split is None or split in shard.splits]

    def _paths_of(self, split: str | None) -> list[Path]:
        return [self.folder / shard.file for shard in self._shards_of(split)]

    def _tables(self, split: str | None, names: Sequence[str]) -> Iterator[pa.Table]:
        """Columns of all rows of the shards that have rows of `split`; of those in a store several at a time."""
        shards = self._shards_of(split)
        if all(path.is_file() for path in self._paths_of(split)):
            yield from (self._table(shard, names) for shard in shards)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda shard: self._table(shard, names), shards)

    def _table(self, shard: ShardEntry, names: Sequence[str]) -> pa.Table:
        """Columns of all rows of a shard, `split` among them; ShardError if the splits differ from the manifest."""
        try:
            table = pq.read_table(open_shard(self.folder / shard.file), columns=list(dict.fromkeys(names)))
            splits = Counter(table["split"].to_pylist())
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"The shard {shard.file} in {self.folder} is unreadable; build it again.") from error
        if splits != Counter(shard.splits):
            raise ShardError(f"The shard {shard.file} in {self.folder} does not hold what its manifest says.")
        return table


def _sort_by_id(ids: Sequence[pa.ChunkedArray]) -> np.ndarray:
    """Indices that sort rows, whose image ids are listed shard by shard, by id."""
    joined = pa.chunked_array([chunk for part in ids for chunk in part.chunks], pa.string())
    return np.asarray(pc.sort_indices(joined).to_numpy(), np.int64)


def _select_split(table: pa.Table, split: str | None) -> np.ndarray:
    """Which rows of a shard are of the split."""
    if split is None:
        return np.ones(len(table), bool)
    return np.asarray(pc.equal(table["split"], split).to_numpy(), bool)


STRING_COLUMNS = ("image_id", "study_id", "subject_id", "split", "view")


def _build_data(table: pa.Table, pixels: np.ndarray) -> ShardData:
    column = {name: _array(table, name) for name in table.column_names}
    strings = {name: column[name].to_numpy(zero_copy_only=False) for name in STRING_COLUMNS}
    return ShardData(
        image_ids=strings["image_id"],
        study_ids=strings["study_id"],
        subject_ids=strings["subject_id"],
        splits=strings["split"],
        views=strings["view"],
        pixels=pixels,
        heights=column["height"].to_numpy(),
        widths=column["width"].to_numpy(),
        texts=column["text"].to_pylist(),
        sentences=column["sentences"].to_pylist(),
        triplets=flat_triplets(column["triplets"]),
        labels=_split_labels(column["labels"]),
    )


def _array(table: pa.Table, name: str) -> pa.Array:
    chunks = table[name]
    return chunks.chunk(0) if chunks.num_chunks == 1 else pa.array([], chunks.type)


def flat_triplets(lists: pa.Array) -> Triplets:
    """The triplets of a column of shards."""
    rows = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    flat = lists.flatten()
    fields = [flat.field(name).to_numpy().astype(np.int64) for name in Triplets._fields[1:]]
    return Triplets(rows, *fields)


def _split_labels(maps: pa.Array) -> dict[str, np.ndarray]:
    """One array per label name that occurs, in alphabetical order."""
    offsets = maps.offsets.to_numpy()
    rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
    names = maps.keys[offsets[0] : offsets[-1]].dictionary_encode()
    values = maps.items[offsets[0] : offsets[-1]].to_numpy(zero_copy_only=False).astype(np.float32)
    codes = names.indices.to_numpy()
    labels = {}
    for code, name in sorted(enumerate(names.dictionary.to_pylist()), key=lambda pair: pair[1]):
        labels[name] = np.full(len(maps), np.nan, np.float32)
        labels[name][rows[codes == code]] = values[codes == code]
    return labels
