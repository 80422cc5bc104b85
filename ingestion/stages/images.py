"""Stage `images`: the files of a batch of studies, decoded and brought into squares."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from store.errors import SettingError
from store.settings import setting

if TYPE_CHECKING:
    from pathlib import Path

    from imaging.decode import DecodedImage, SquareOptions
    from imaging.errors import ImageError
    from imaging.pool import DecoderPool
    from ingestion.stage import Work
    from store.batches import Computed

CODE = ("ingestion.stages.images",)
IMAGES_PER_WORKER = 16  # below which starting another process costs more than it saves
SIZES = (32, 1024)


@dataclass(frozen=True)
class ImagesSettings:
    """What the radiographs are turned into."""

    size: int = setting(96, "Side of the square, pixels; the paper reads 224.")
    squash: bool = setting(
        False, "Stretch images to the square, as MedKLIP's code does; else their proportions stay, and black is added."
    )
    crop_borders: bool = setting(False, "Cut off constant borders; boxes and masks do not follow.")
    reduced_jpeg_2000: bool = setting(
        False, "Decode JPEG 2000 at a lower resolution: over 8 times faster, up to 12 of 255 levels off."
    )

    def __post_init__(self) -> None:
        least, most = SIZES
        if not least <= self.size <= most:
            raise SettingError(f"images: `size` is {self.size} and must lie in {least}..{most}")


def images_schema(size: int) -> pa.Schema:
    """Rows of decoded images: squares of `size`, with the height and width they had and, of a DICOM header, the
    allowed attributes as JSON, the keywords of identifying ones that were dropped, and whether it says that annotation
    is burned into the pixels (null: it does not say). `display_fallback` is what is shown as black to white where the
    file describes nearly one grey, `doubt` why the image may not look as a radiograph should; both are empty for most.
    """
    return pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("pixels", pa.binary(size * size), nullable=False),
            pa.field("header", pa.string(), nullable=False),
            pa.field("dropped", pa.list_(pa.string()), nullable=False),
            pa.field("burned_in", pa.bool_()),
            pa.field("display_fallback", pa.string(), nullable=False),
            pa.field("doubt", pa.string(), nullable=False),
        ]
    )


def decode(work: Work, studies: pa.Table) -> Computed:
    """Decode images of a batch of the inventory, its rows `studies`."""
    from tqdm import tqdm

    root = work.workspace.root().resolve()
    with tqdm(total=studies.num_rows, unit="image", leave=False, disable=None) as bar:  # None: in a terminal only
        return decode_batch(root, studies, **work.settings, pool=_shared_pool(), on_image=bar.update)


def decode_batch(
    root: Path,
    studies: pa.Table,
    size: int,
    *,
    pool: DecoderPool | None = None,
    on_image: Callable[[], object] = lambda: None,
    **choices: bool,
) -> tuple[pa.Table, pa.Table]:
    """Decode the images of a batch, in the archive at `root`, into (images, rejects), in the order of `studies`.

    Rows that have stamps of a listing (cohorts.tables.STAMPS) are compared with it: OutageError where a file is not
    what it was then. A `pool` that outlives the batch saves starting its processes again. `on_image` is called after
    each image. `size` and `choices` are SquareOptions.
    """
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import ExitStack

    from cohorts.tables import list_rejects
    from imaging.decode import DecodedImage, SquareOptions
    from imaging.errors import ImageError
    from imaging.pool import DecoderPool, usable_cores
    from ingestion.stages.doubts import find_doubt

    options = SquareOptions(size, **choices)
    paths = studies["image_path"].to_pylist()
    listed = "image_stamp" in studies.column_names
    stamps = studies["image_stamp"].to_pylist() if listed else [None] * len(paths)
    with ExitStack() as stack:
        pool = pool or stack.enter_context(DecoderPool(min(usable_cores(), 1 + len(paths) // IMAGES_PER_WORKER)))
        threads = stack.enter_context(ThreadPoolExecutor(pool.workers))
        results = []
        for result in threads.map(partial(_decode, pool, root, options), paths, stamps):
            results.append(result)
            on_image()
    decoded = {row: result for row, result in enumerate(results) if isinstance(result, DecodedImage)}
    failures = {row: result for row, result in enumerate(results) if isinstance(result, ImageError)}
    headers = [image.header for image in decoded.values()]
    images = pa.table(
        {
            "image_id": studies["image_id"].take(pa.array(list(decoded), pa.int64())),
            "height": pa.array([image.height for image in decoded.values()], pa.int32()),
            "width": pa.array([image.width for image in decoded.values()], pa.int32()),
            "pixels": _as_binary([image.pixels for image in decoded.values()], size),
            "header": pa.array([json.dumps(header.kept) for header in headers], pa.string()),
            "dropped": pa.array([sorted(header.dropped) for header in headers], pa.list_(pa.string())),
            "burned_in": pa.array([header.burned_in for header in headers], pa.bool_()),
            "display_fallback": pa.array([image.display_fallback for image in decoded.values()], pa.string()),
            "doubt": pa.array([find_doubt(image, options.squash) for image in decoded.values()], pa.string()),
        },
        schema=images_schema(size),
    )
    return images, list_rejects(studies, "image", "image_path", failures)


@cache
def _shared_pool() -> DecoderPool:
    """The decoder processes of this one, for all of its batches; they end with it."""
    import atexit

    from imaging.pool import DecoderPool

    pool = DecoderPool()
    atexit.register(pool.__exit__)
    return pool


def _decode(
    pool: DecoderPool, root: Path, options: SquareOptions, relative: str, stamp: str | None
) -> DecodedImage | ImageError:
    from cohorts.archive.listed_images import read_listed

    return read_listed(root, relative, stamp, lambda path: pool.decode(path, options))


def _as_binary(squares: Sequence[np.ndarray], size: int) -> pa.Array:
    """Squares of pixels, each (size, size), as one fixed-size binary column, without a Python object per row."""
    data = np.stack(squares) if squares else np.empty((0, size, size), np.uint8)
    buffers = [None, pa.py_buffer(np.ascontiguousarray(data))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size * size), len(squares), buffers)
