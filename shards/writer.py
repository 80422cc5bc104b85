"""Joins images, studies, reports and triplets by id into shards, and writes them with their manifest.

A shard is plain Parquet. Row groups hold 256 rows, nothing is compressed, and the pixels of a row group lie in one
page, so that `shards.reader` finds them at a computed offset. How rows are divided over shards, and how these are
called, is free: neither the data version nor the order of rows depends on it (`shards.manifest`, `shards.reader`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shards.errors import ShardError
from shards.files import is_there, open_shard
from shards.manifest import Manifest, ShardEntry, known_entries
from shards.schema import NO_SENTENCE, SCHEMA_VERSION, SENTENCE, TRIPLET, shard_schema
from store.atomic import replacing

ROW_GROUP = 256
EXISTS = {"absent": 0, "present": 1, "uncertain": -1}
TRIPLET_ORDER = ("study_id", "sentence", "start", "end", "entity", "position", "exists")


def build_shard(
    studies: pa.Table,
    images: pa.Table,
    reports: pa.Table,
    triplets: pa.Table,
    entities: Sequence[str],
    positions: Sequence[str],
    size: int,
    has_sentences: bool = True,
) -> pa.Table:
    """Join the four tables strictly by id: one row per row of `studies`, in the order of `image_id`.

    Every study row needs its image and its report, and every image needs its study row: `ShardError` names
    the first id that lacks one. `reports` may hold studies without a row (all of their images were rejected).
    `has_sentences`: whether the sentences of `triplets` are those of `reports`; in a RadGraph file they are not.
    """
    for table, key in ((studies, "image_id"), (images, "image_id"), (reports, "study_id")):
        _check_unique(table[key])
    _rows_of(images["image_id"], studies["image_id"], "image {} has no row in the studies")
    studies = studies.sort_by("image_id")
    image_rows = _rows_of(studies["image_id"], images["image_id"], "image {} has no pixels in the images")
    report_rows = _rows_of(studies["study_id"], reports["study_id"], "study {} has no report")
    texts, sentences = _texts(reports)
    columns = {
        **{name: studies[name] for name in ("image_id", "study_id", "subject_id", "split", "view", "labels")},
        **{name: images[name].take(image_rows) for name in ("height", "width")},
        "pixels": _pixels(images["pixels"], size).take(image_rows),
        "text": texts.take(report_rows),
        "sentences": sentences.take(report_rows),
        "triplets": _triplets(triplets, reports["study_id"], entities, positions, has_sentences).take(report_rows),
    }
    schema = shard_schema(size)
    arrays = [_one_chunk(columns[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_shard(table: pa.Table, path: Path) -> None:
    """Write one shard, atomically. Equal tables give equal bytes (with the same pyarrow)."""
    size = _size_of(table.schema, path)
    with replacing(Path(path)) as partial:
        pq.write_table(
            table.combine_chunks().cast(shard_schema(size)),  # field metadata of another file is not content
            partial,
            row_group_size=ROW_GROUP,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            data_page_size=ROW_GROUP * size * size + 1,  # one page per row group
        )


def write_manifest(
    folder: Path,
    shards: Sequence[Path],
    entities: Sequence[str],
    positions: Sequence[str],
    size: int,
    cohort: str,
    decoding: Mapping[str, Any] | None = None,
) -> str:
    """Write `manifest.json` over `shards`, which lie in `folder`, and return its digest: the data version.

    `decoding` says how the images were read, beside their size. It is no part of the data version, as the pixels are.
    Shards that the previous manifest describes, and that were not written since, are not digested again.
    """
    folder = Path(folder)
    known = known_entries(folder)
    ids: list[pa.ChunkedArray] = []
    entries = []
    for path in sorted((Path(shard) for shard in shards), key=lambda shard: shard.name):
        if path.parent.resolve() != folder.resolve() or not is_there(path):
            raise ShardError(f"The shard {path.name} is not in {folder}; write it there before its manifest.")
        if _size_of(pq.read_schema(open_shard(path)), path) != size:
            raise ShardError(f"The shard {path.name} holds images of another size than {size}; build it again.")
        ids.append(pq.read_table(open_shard(path), columns=["image_id"])["image_id"])
        entries.append(known.get(path.name) or ShardEntry.of(path))
    _expect_in_one_shard(ids, folder)
    vocabulary = tuple(entities), tuple(positions)
    manifest = Manifest(cohort, SCHEMA_VERSION, size, *vocabulary, tuple(entries), dict(decoding or {}))
    manifest.write(folder)
    return manifest.digest


def _expect_in_one_shard(ids: Sequence[pa.ChunkedArray], folder: Path) -> None:
    counts = pc.value_counts(pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string()))
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise ShardError(f"Image {pc.min(twice).as_py()} is in more than one shard of {folder}.")


def _check_unique(ids: pa.ChunkedArray) -> None:
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        name = min(repeated.field("values").to_pylist())
        raise ShardError(f"{name} occurs more than once where ids must be unique.")


def _rows_of(wanted: pa.ChunkedArray, keys: pa.ChunkedArray, complaint: str) -> pa.Array:
    """The row of `keys` that holds each id of `wanted`."""
    rows = _one_chunk(pc.index_in(wanted, value_set=_one_chunk(keys)))
    if rows.null_count:
        missing = wanted.filter(pc.is_null(rows))[0].as_py()
        raise ShardError(f"Cannot build a shard: {complaint.format(missing)}.")
    return rows


def _pixels(pixels: pa.ChunkedArray, size: int) -> pa.Array:
    if not pa.types.is_fixed_size_binary(pixels.type):
        lengths = pc.unique(pc.binary_length(pixels)).to_pylist()
        if lengths not in ([], [size * size]):
            raise ShardError(f"The images are not {size} x {size} bytes each; prepare them at this size.")
    elif pixels.type.byte_width != size * size:
        raise ShardError(f"The images hold {pixels.type.byte_width} bytes each, not {size} x {size}.")
    return _one_chunk(pixels).cast(pa.binary(size * size))


def _texts(reports: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Pretraining text and sentences per report."""
    lists = _one_chunk(reports["sentences"])
    found = lists.flatten()
    rows = pa.StructArray.from_arrays([found.field(field.name) for field in SENTENCE], fields=list(SENTENCE))
    offsets = pc.subtract(lists.offsets, lists.offsets[0])  # a slice of a table keeps what it was cut from
    return _one_chunk(reports["text"]), pa.ListArray.from_arrays(offsets, rows, type=pa.list_(SENTENCE))


def _triplets(
    triplets: pa.Table,
    studies: pa.ChunkedArray,
    entities: Sequence[str],
    positions: Sequence[str],
    has_sentences: bool,
) -> pa.Array:
    """The triplets of each study of `studies` as a list of ids, in the order of the report."""
    triplets = triplets.sort_by([(name, "ascending") for name in TRIPLET_ORDER])
    owners = _rows_of(triplets["study_id"], studies, "triplets belong to study {}, which has no report")
    order = np.argsort(owners.to_numpy(zero_copy_only=False), kind="stable")
    counts = np.bincount(owners.to_numpy(zero_copy_only=False), minlength=len(studies))
    names = list(EXISTS)
    exists = np.array([EXISTS[name] for name in names], np.int8)[_ids(triplets, "exists", names)]
    sentences = triplets["sentence"].to_numpy() if has_sentences else np.full(len(triplets), NO_SENTENCE)
    arrays: list[Any] = [
        pa.array(_ids(triplets, "entity", entities)[order], pa.int16()),
        pa.array(_ids(triplets, "position", positions)[order], pa.int16()),
        pa.array(exists[order], pa.int8()),
        pa.array(sentences[order], pa.int16()),
    ]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    rows = pa.StructArray.from_arrays(arrays, fields=list(TRIPLET))
    return pa.ListArray.from_arrays(offsets, rows, type=pa.list_(TRIPLET))


def _ids(triplets: pa.Table, column: str, names: Sequence[str]) -> np.ndarray:
    ids = pc.index_in(triplets[column], value_set=pa.array(names, pa.string()))
    if ids.null_count:
        unknown = triplets[column].filter(pc.is_null(ids))[0].as_py()
        raise ShardError(f"The triplets name the {column} '{unknown}', which is not in the vocabulary.")
    return ids.to_numpy().astype(np.int64)


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _size_of(schema: pa.Schema, path: Path) -> int:
    """The image size of a shard's schema, which must be the present one."""
    metadata = schema.metadata or {}
    try:
        size = int(metadata[b"size"])
        fits = metadata[b"version"].decode() == SCHEMA_VERSION and schema.equals(shard_schema(size))
    except (KeyError, ValueError):
        fits = False
    if not fits:
        raise ShardError(f"{Path(path).name} is not a shard of schema version {SCHEMA_VERSION}; build it again.")
    return size
