"""Which study is in which batch, so that batches stay what they are while the archive grows.

The table `members.parquet` beside the plan of the inventory has a row for each study, in the order of the batches and
of the studies in them. It is written before the plan: a run that was killed between leaves batches that the next one
cuts in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import batches
from store.batches import Batch, Plan
from store.remote import mirror
from store.seals import is_intact, is_sealed, set_aside, write_sealed_table

FILE = "members.parquet"
SIZE = b"batch_size"  # key of the metadata: another size cuts anew
FORMER = "members"  # in the settings of the plans of earlier versions: name of a batch -> its studies
SCHEMA = pa.schema(
    [
        pa.field("study_id", pa.string(), nullable=False),
        pa.field("batch", pa.int32(), nullable=False),  # its number
    ]
)

Log = Callable[[str], object]


def assign(previous: pa.Table, present: pa.Array, size: int) -> pa.Table:
    """Which study of `present` is in which batch: known ones stay, new ones open new batches, vanished ones leave.

    Batches of less than half of `size`, which nightly runs leave behind, are dissolved once they and the new
    studies fill a whole batch: a study is moved, and computed again, hardly ever more than once. Tables of SCHEMA.
    """
    numbers = previous["batch"].to_numpy()
    places = pc.index_in(previous["study_id"], value_set=present)  # null: vanished
    there = places.is_valid().to_numpy()
    kept, kept_batches = places.drop_null().to_numpy(), numbers[there]
    is_new = np.ones(len(present), bool)
    is_new[kept] = False
    new = np.flatnonzero(is_new)
    counts = np.bincount(kept_batches)
    small = (2 * counts < size)[kept_batches]  # studies of small batches
    if small.sum() + len(new) >= size:
        new = np.concatenate([kept[small], new])
        kept, kept_batches = kept[~small], kept_batches[~small]
    first = 1 + numbers.max(initial=-1)
    order = np.concatenate([kept, new])
    cut = np.concatenate([kept_batches, first + np.arange(len(new)) // size])
    return pa.table([present.take(pa.array(order)), pa.array(cut, pa.int32())], schema=SCHEMA)


def rows_of_batches(studies: pa.ChunkedArray, members: pa.Table) -> Iterator[tuple[str, np.ndarray]]:
    """Name of each batch and its rows in `studies`: its studies in their order, the images of a study in theirs."""
    places = pc.index_in(studies, value_set=members["study_id"]).to_numpy()
    order = np.argsort(places, kind="stable")
    numbers = members["batch"].to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    bounds = np.searchsorted(places[order], [*starts, len(numbers)])
    for number, start, stop in zip(numbers[starts], bounds[:-1], bounds[1:], strict=True):
        yield name_batch(number), order[start:stop]


def name_batch(number: int) -> str:
    """The name of a batch."""
    return f"b{number:05d}"


def write_members(members: pa.Table, folder: Path, size: int) -> None:
    """Keep the members of batches of `size` studies."""
    write_sealed_table(members.replace_schema_metadata({SIZE: str(size)}), folder / FILE)


def read_members(folder: Path, size: int, log: Log) -> pa.Table:
    """The members that were kept; empty where none are, or batches had another size.

    Where the table is damaged, which `log` is told, or not there yet, they are read from the batches that count.
    """
    path = folder / FILE
    mirror.fetch(path)
    if is_intact(path):
        table = pq.read_table(path)
        same = (table.schema.metadata or {}).get(SIZE) == str(size).encode()
        return table.replace_schema_metadata(None) if same else SCHEMA.empty_table()
    if path.exists() or is_sealed(path):
        set_aside(path)
        log(f"{path} was damaged and is made again from the batches.")
    plan = batches.read_last_plan(folder, log)
    if plan.settings.get("batch_size") != size:
        return SCHEMA.empty_table()
    found = {int(batch.name[1:]): _studies_of(folder, batch, plan) for batch in plan.batches}
    numbers = np.repeat(list(found), [len(studies) for studies in found.values()])
    return pa.table([pa.chunked_array(found.values(), pa.string()), numbers.astype(np.int32)], schema=SCHEMA)


def _studies_of(folder: Path, batch: Batch, plan: Plan) -> pa.Array:
    """The studies of a batch in their order; none where its file is damaged."""
    if FORMER in plan.settings:
        return pa.array(plan.settings[FORMER][batch.name], pa.string())
    path = batches.output_path(folder, batch.fingerprint)
    if not is_intact(path):
        return pa.array([], pa.string())
    return pc.unique(pq.ParquetFile(batches.open_batch(folder, batch)).read(["study_id"])["study_id"])
