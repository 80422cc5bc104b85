"""Random access to the pixels of shards, without reading the rest of the files.

Rows are read with `pread`, not through a memory map. It is as fast, and the memory of the process does not grow with
the archive. A file that was cut off raises an error, where a memory map would end the process. Rows of shards that are
not on this machine are read by ranges from the store of the home, those of a batch together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from shards.errors import ShardError
from shards.files import open_shard, read_pieces

PAGE_HEADER_LIMIT = 256  # bytes; the header of a page without statistics takes about 20


class PixelArray(Protocol):
    """Grey images (n, size, size) uint8: an array, or something that reads what is sliced."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> np.ndarray: ...


class Pixels:
    """The pixels of many rows, given the byte offsets (rows of the file,) in each file.

    `order` (rows,) brings the rows, listed file by file, into another order; None keeps it.
    """

    def __init__(self, size: int, offsets: Sequence[tuple[Path, np.ndarray]], order: np.ndarray | None = None) -> None:
        self.size = size
        self._paths = [path for path, _ in offsets]
        file: np.ndarray = np.repeat(np.arange(len(offsets)), [len(of_file) for _, of_file in offsets])
        offset = np.concatenate([np.empty(0, np.int64), *(of_file for _, of_file in offsets)])
        self._file: np.ndarray = file if order is None else file[order]
        self._offset: np.ndarray = offset if order is None else offset[order]

    @classmethod
    def join(cls, size: int, parts: Sequence[Pixels]) -> Pixels:
        """The pixels of all `parts`, one after the other."""
        joined = cls(size, [])
        joined._paths = [path for part in parts for path in part._paths]
        firsts = np.cumsum([0, *(len(part._paths) for part in parts)])
        files = [first + part._file for first, part in zip(firsts, parts, strict=False)]
        joined._file = np.concatenate([joined._file, *files])
        joined._offset = np.concatenate([joined._offset, *(part._offset for part in parts)])
        return joined

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, part: slice, /) -> np.ndarray:
        return self.read(np.arange(len(self))[part])

    def take(self, rows: np.ndarray) -> Pixels:
        """The pixels of some rows, in the order of `rows`."""
        taken = Pixels(self.size, [])
        taken._paths, taken._file, taken._offset = self._paths, self._file[rows], self._offset[rows]
        return taken

    def read(self, rows: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """8-bit (rows, size, size) in the order of `rows`, into an array if one is given. Files are read in order."""
        images = np.empty((len(rows), self.size, self.size), np.uint8) if into is None else into
        order = np.lexsort((self._offset[rows], self._file[rows]))
        elsewhere: dict[Path, Iterator[tuple[int, memoryview]]] = {}
        for part in np.split(order, np.flatnonzero(np.diff(self._file[rows[order]])) + 1):
            if len(part):
                path, offsets = self._paths[self._file[rows[part[0]]]], self._offset[rows[part]]
                if not _read_file(path, offsets, images, part):
                    elsewhere[path] = _as_pieces(offsets, images, part)
        if elsewhere:
            read_pieces(elsewhere)
        return images


def _read_file(path: Path, offsets: np.ndarray, images: np.ndarray, positions: np.ndarray) -> bool:
    """Read images from a file; False where it is not on this machine."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ShardError(f"The shard {path} cannot be opened ({error.strerror}); build it again.") from error
    try:
        for offset, index in zip(offsets.tolist(), positions.tolist(), strict=True):
            if os.preadv(descriptor, [images[index]], offset) != images[index].nbytes:
                raise ShardError(f"The shard {path} is cut off; build it again.")
    finally:
        os.close(descriptor)
    return True


def _as_pieces(offsets: np.ndarray, images: np.ndarray, positions: np.ndarray) -> Iterator[tuple[int, memoryview]]:
    for offset, index in zip(offsets.tolist(), positions.tolist(), strict=True):
        yield offset, memoryview(images[index]).cast("B")


def pixel_offsets(path: Path, size: int) -> np.ndarray:
    """Where in the file the pixels of each row of a shard begin, in bytes."""
    metadata = pq.read_metadata(open_shard(path))
    column = metadata.schema.names.index("pixels")
    offsets = [np.empty(0, np.int64)]
    for index in range(metadata.num_row_groups):
        chunk = metadata.row_group(index).column(column)
        if not chunk.num_values:  # an empty shard has a row group without a page
            continue
        header = chunk.total_compressed_size - chunk.num_values * size * size
        if chunk.compression != "UNCOMPRESSED" or not 0 < header < PAGE_HEADER_LIMIT:
            raise ShardError(f"The pixels of {path.name} do not lie in one page per row group; build it again.")
        offsets.append(chunk.data_page_offset + header + np.arange(chunk.num_values) * size * size)
    return np.concatenate(offsets)
