"""Files appear whole or not at all: written beside their name, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.remote import mirror

if TYPE_CHECKING:
    import pyarrow as pa

PARTIAL = ".partial"  # how a file is called until it is whole


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; it takes the place of `path` only when the block ends well.

    A killed process leaves the old file (and a stray `*.partial`, which no reader looks at). In the mirror of a remote
    home, the file is published with the next one that is sealed beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        _flush_to_disk(partial)
        os.replace(partial, path)
        mirror.note(path)
    except OSError as error:
        if error.filename is None and error.errno:  # the system does not say which file a full disk was met with
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Without this a power cut after the rename may leave an empty file under the final name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    write_text(path, json.dumps(value, indent=1))


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet, atomically."""
    import pyarrow.parquet as pq

    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")
