"""The truth about given images: labels and masks from the studies table and the archive it points into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.archive.paths import OutsideRootError, inside
from cohorts.archive.remote import local_copy
from evaluation.errors import EvaluationError
from imaging.decode import read_grey
from imaging.errors import ImageError
from imaging.letterbox import letterbox_mask
from imaging.shapes import ShapeError, shape_mask


@dataclass(frozen=True)
class Masks:
    """The true regions, of the (image, class) pairs that have one."""

    rows: np.ndarray  # (m,) index of the image
    columns: np.ndarray  # (m,) index of the class
    pixels: np.ndarray  # (m, size, size) bool, letterboxed like the image

    def __len__(self) -> int:
        return len(self.rows)

    def middle(self, side: int | None) -> Masks:
        """What lies in the middle square of `side` pixels, where a network looks that crops; None: all."""
        if side is None:
            return self
        start = (self.pixels.shape[-1] - side) // 2
        return replace(self, pixels=self.pixels[:, start : start + side, start : start + side])


@dataclass(frozen=True)
class Truth:
    """Labels, patients and masks of images in a given order."""

    subjects: np.ndarray  # (n,)
    labels: np.ndarray  # (n, classes) float32: 1 present, 0 absent, nan unknown or uncertain
    masks: Masks  # of pairs labelled present; of films without any label, of those with a region


def load_truth(
    studies: Path,
    root: Path,
    image_ids: Sequence[str] | np.ndarray,
    classes: Sequence[str],
    size: int,
    shapes: np.ndarray | None = None,
) -> Truth:
    """Read the truth about `image_ids` from the `studies` table; mask files lie under `root`.

    Masks and shapes that share a class within one image are joined. `shapes` (n, 2) are the heights and widths of the
    films where they are known, so that no film is opened to draw on.
    """
    rows = _study_rows(studies, image_ids)
    labels = np.full((len(rows), len(classes)), np.nan, np.float32)
    found: dict[tuple[int, int], np.ndarray] = {}
    for row, study in enumerate(rows):
        named = dict(study["labels"] or ())
        for column, name in enumerate(classes):
            value = named.get(name)
            labels[row, column] = value if value in (0, 1) else np.nan
            regions = [*_of(name, study["masks"]), *_of(name, study["shapes"])]
            if regions and (value == 1 or not named):
                shape = None if shapes is None else tuple(shapes[row])
                mask = _joined(regions, study["image_path"], root, size, shape)
                if value == 1 or mask.any():
                    found[row, column] = mask
    where = np.array(list(found), np.int64).reshape(-1, 2)
    pixels = np.array(list(found.values()), bool).reshape(-1, size, size)
    subjects = np.array([study["subject_id"] for study in rows], dtype=object)
    return Truth(subjects, labels, Masks(where[:, 0], where[:, 1], pixels))


def _study_rows(studies: Path, image_ids: Sequence[str] | np.ndarray) -> list[Mapping[str, Any]]:
    wanted = pa.array([str(name) for name in image_ids], pa.string())
    columns = ["image_id", "subject_id", "image_path", "labels", "masks", "shapes"]
    table = pq.read_table(studies, columns=columns, filters=pc.is_in(pc.field("image_id"), wanted))
    by_id = {row["image_id"]: row for row in table.to_pylist()}
    for name in wanted.to_pylist():
        if name not in by_id:
            raise EvaluationError(f"Image {name} is not in {Path(studies).name}; rebuild the shards from it.")
    return [by_id[name] for name in wanted.to_pylist()]


def _of(name: str, regions: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    return [region for region in regions or () if region["label"] == name]


def _joined(
    regions: Sequence[Mapping[str, Any]], image_path: str, root: Path, size: int, shape: tuple[int, ...] | None
) -> np.ndarray:
    joined = np.zeros((size, size), bool)
    if shape is None:
        shape = _read(root, image_path).shape if any("kind" in region for region in regions) else (0, 0)
    for region in regions:
        if "kind" in region:
            mask = _drawn(region, image_path, *shape)
        else:
            mask = _read(root, region["path"]) > region["threshold"]
        joined |= letterbox_mask(mask, size)
    return joined


def _drawn(region: Mapping[str, Any], image_path: str, height: int, width: int) -> np.ndarray:
    try:
        return shape_mask(region["kind"], region["points"], height, width) > 0
    except ShapeError as error:
        raise EvaluationError(f"The {region['label']} of {image_path} cannot be drawn: {error}") from error


def _read(root: Path, path: str) -> np.ndarray:
    try:
        with local_copy(inside(root, path)) as file:
            return read_grey(file)
    except OutsideRootError as error:
        raise EvaluationError(f"The file {path} lies outside of {root}; correct the studies table.") from error
    except ImageError as error:
        raise EvaluationError(f"The file {path} under {root} cannot be read: {error.detail}") from error
