"""Scores of findings in many image files: a table with a row per file, and pictures of where each finding is seen."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from imaging.dicom.reader import looks_like_dicom
from imaging.raster import looks_like_raster
from radalign.errors import RadalignError
from radalign.images import read_films
from store.atomic import replacing

if TYPE_CHECKING:
    from radalign.model import Model

CHUNK = 32  # files that are decoded together
HEAD = 140  # bytes by which a kind of image is known
NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Row:
    """What came of one file."""

    path: Path
    scores: np.ndarray | None  # (labels,); None where the file cannot be read
    maps: np.ndarray | None  # (labels, rows, columns)
    reason: str = ""  # why there are none


def find_images(given: Sequence[str], pictures: str = "") -> list[Path]:
    """The files that were named, and the images of all folders that were, in order.

    What lies in the folder `pictures`, where maps are written to, is left out of other folders. RadalignError for what
    is neither, and where there is no image at all.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.is_dir():
            own = Path(pictures).resolve() if pictures and Path(pictures).resolve() != path.resolve() else None
            found += [image for image in _images_below(path) if own is None or own not in image.resolve().parents]
        elif path.is_file():
            found.append(path)
        else:
            raise RadalignError(f"There is no image file {name}.")
    if not found:
        raise RadalignError(f"There is no DICOM, JPG or PNG file in {', '.join(given)}.")
    return found


def score_files(model: Model, paths: Sequence[Path], labels: Sequence[str]) -> Iterator[Row]:
    """A row per file, in order. A file that cannot be read has a reason, and the others are scored all the same."""
    with tqdm(total=len(paths), unit="image", disable=len(paths) <= CHUNK, file=sys.stderr) as bar:
        for start in range(0, len(paths), CHUNK):
            part = paths[start : start + CHUNK]
            yield from _score(model, part, labels)
            bar.update(len(part))


def as_text(rows: Sequence[Row], labels: Sequence[str], separator: str) -> str:
    """The table: path, score of each label, and where there is none the reason."""
    stream = StringIO()
    writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
    failed = any(row.reason for row in rows)
    writer.writerow(["image", *labels, *(["reason"] if failed else [])])
    for row in rows:
        scores = [""] * len(labels) if row.scores is None else [f"{score:.4f}" for score in row.scores]
        writer.writerow([row.path, *scores, *([row.reason] if failed else [])])
    return stream.getvalue()


def write_pictures(model: Model, rows: Sequence[Row], labels: Sequence[str], folder: Path) -> int:
    """A picture of each finding over each film, `0001-NAME-FINDING.png`; returns how many."""
    from evaluation.figures.pictures import draw_overlay
    from radalign.placing import WHOLE, cut_margin, find_part, lay_over, place_map

    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for number, row in enumerate(rows, 1):
        if row.maps is None:
            continue
        film = read_films(row.path)[0]
        inner = find_part(film) if model.card.decoding.get("crop_borders") else WHOLE
        extent = place_map(model.network, model.card, film.shape, inner)
        for label, whole in zip(labels, row.maps, strict=True):
            located = lay_over(*cut_margin(whole, extent), film.shape)
            name = "-".join((f"{number:04}", _plain(row.path.stem), _plain(label)))
            with replacing(folder / f"{name}.png") as partial:
                partial.write_bytes(draw_overlay(film, located))
            written += 1
    return written


def _images_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise RadalignError(f"{error.filename} cannot be searched: {error.strerror}.") from None

    paths = (Path(place) / name for place, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(path for path in paths if path.is_file() and _is_image(path))


def _is_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False
    return looks_like_dicom(head) or looks_like_raster(head)


def _score(model: Model, paths: Sequence[Path], labels: Sequence[str]) -> Iterator[Row]:
    try:
        found = model.zero_shot(list(paths), labels)
    except RadalignError as error:
        if len(paths) > 1:
            for path in paths:
                yield from _score(model, [path], labels)
        elif str(paths[0]) in str(error):
            yield Row(paths[0], None, None, str(error))
        else:  # not of this image
            raise
        return
    for path, scores, maps in zip(paths, found.scores, found.maps, strict=True):
        yield Row(path, scores, maps)


def _plain(text: str) -> str:
    return NAME.sub("_", text)[:60]
