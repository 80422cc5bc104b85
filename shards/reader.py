"""Reads the rows of one split from a folder of shards into numpy arrays.

The pixels of a row group lie uncompressed in one page of the file, at an offset that follows from the Parquet
footer: they are memory-mapped and copied once, into their place in the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import ShardError
from shards.manifest import Manifest, ShardEntry
from shards.schema import shard_schema

PAGE_HEADER_LIMIT = 256  # bytes; the header of a page without statistics takes about 20


class Triplets(NamedTuple):
    """All triplets of the rows as flat, equally long int64 arrays."""

    row: np.ndarray  # index into the rows of the data
    entity: np.ndarray  # index into the manifest's entities
    position: np.ndarray  # index into the manifest's positions
    exists: np.ndarray  # 1 present, 0 absent, -1 uncertain


@dataclass(frozen=True)
class ShardData:
    """The rows of one split, in the order of the shards' names and of the image ids within each."""

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
    """The shards of `folder`; `verify` compares every file with its digest first."""

    def __init__(self, folder: Path, verify: bool = False) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.load(self.folder, verify)

    def read(self, split: str | None = None) -> ShardData:
        """Read all rows of `split`, or of all splits; a split that nobody is in gives no rows."""
        size = self.manifest.size
        wanted = [shard for shard in self.manifest.shards if split is None or split in shard.splits]
        rows = sum(shard.rows if split is None else shard.splits[split] for shard in wanted)
        pixels = np.empty((rows, size, size), np.uint8)
        tables = [_without_pixels(size).empty_table()]
        start = 0
        for shard in wanted:
            table, stop = self._read_shard(shard, split, pixels, start)
            tables.append(table)
            start = stop
        return _as_data(pa.concat_tables(tables).combine_chunks(), pixels)

    def _read_shard(self, shard: ShardEntry, split: str | None, pixels: np.ndarray, start: int) -> tuple[pa.Table, int]:
        """The other columns of a shard, and its pixels into `pixels` from row `start` on."""
        path = self.folder / shard.file
        schema = _without_pixels(self.manifest.size)
        try:
            parquet = pq.ParquetFile(path)
            table = parquet.read(columns=schema.names).cast(schema)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"The shard {shard.file} in {self.folder} is unreadable; build it again.") from error
        keep = np.ones(len(table), bool)
        if split is not None:
            keep = np.asarray(table["split"].to_numpy() == split, bool)
        expected = shard.rows if split is None else shard.splits[split]
        if len(table) != shard.rows or int(keep.sum()) != expected:
            raise ShardError(f"The shard {shard.file} in {self.folder} does not hold what its manifest says.")
        first = 0
        for group in mapped_pixels(path, self.manifest.size, parquet.metadata):
            kept = keep[first : first + len(group)]
            stop = start + int(kept.sum())
            np.compress(kept, group, axis=0, out=pixels[start:stop])
            first, start = first + len(group), stop
        return table.filter(pa.array(keep)), start


def _without_pixels(size: int) -> pa.Schema:
    schema = shard_schema(size)
    return schema.remove(schema.get_field_index("pixels"))


def mapped_pixels(path: Path, size: int, metadata: pq.FileMetaData | None = None) -> list[np.ndarray]:
    """The pixels of every row group of a shard, (rows, size, size), as views of the mapped file: what is not looked
    at is not read."""
    metadata = metadata or pq.read_metadata(path)
    column = metadata.schema.names.index("pixels")
    content = np.memmap(path, np.uint8, mode="r")
    groups: list[np.ndarray] = []
    for index in range(metadata.num_row_groups):
        chunk = metadata.row_group(index).column(column)
        if not chunk.num_values:  # an empty shard has a row group without a page
            continue
        payload = chunk.num_values * size * size
        header = chunk.total_compressed_size - payload
        if chunk.compression != "UNCOMPRESSED" or not 0 < header < PAGE_HEADER_LIMIT:
            raise ShardError(f"The pixels of {path.name} do not lie in one page per row group; build it again.")
        offset = chunk.data_page_offset + header
        groups.append(content[offset : offset + payload].reshape(-1, size, size))
    return groups


STRING_COLUMNS = ("image_id", "study_id", "subject_id", "split", "view")


def _as_data(table: pa.Table, pixels: np.ndarray) -> ShardData:
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
        triplets=_flat_triplets(column["triplets"]),
        labels=_labels(column["labels"]),
    )


def _array(table: pa.Table, name: str) -> pa.Array:
    chunks = table[name]
    return chunks.chunk(0) if chunks.num_chunks == 1 else pa.array([], chunks.type)


def _flat_triplets(lists: pa.Array) -> Triplets:
    rows = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
    flat = lists.flatten()
    fields = [flat.field(name).to_numpy().astype(np.int64) for name in ("entity", "position", "exists")]
    return Triplets(rows, *fields)


def _labels(maps: pa.Array) -> dict[str, np.ndarray]:
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
