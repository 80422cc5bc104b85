"""The truth about given images: labels and masks from the studies table and the archive it points into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.paths import OutsideRootError, inside
from evaluation.errors import EvaluationError
from imaging.decode import read_grey
from imaging.errors import ImageError
from imaging.letterbox import letterbox_mask

MASK_LEVEL = 127  # a mask is an 8-bit image, above this lies the finding


@dataclass(frozen=True)
class Masks:
    """The true regions, of the (image, class) pairs that have one."""

    rows: np.ndarray  # (m,) index of the image
    columns: np.ndarray  # (m,) index of the class
    pixels: np.ndarray  # (m, size, size) bool, letterboxed like the image

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Truth:
    """Labels, patients and masks of images in a given order."""

    subjects: np.ndarray  # (n,)
    labels: np.ndarray  # (n, classes) float32: 1 present, 0 absent, nan unknown or uncertain
    masks: Masks  # of pairs labelled present only


def load_truth(
    studies: Path, root: Path, image_ids: Sequence[str] | np.ndarray, classes: Sequence[str], size: int
) -> Truth:
    """Read the truth about `image_ids` from the `studies` table; mask files lie under `root`.

    Masks that share a class within one image are joined.
    """
    rows = _study_rows(studies, image_ids)
    labels = np.full((len(rows), len(classes)), np.nan, np.float32)
    found: dict[tuple[int, int], np.ndarray] = {}
    for row, study in enumerate(rows):
        named = dict(study["labels"] or ())
        for column, name in enumerate(classes):
            value = named.get(name)
            labels[row, column] = value if value in (0, 1) else np.nan
            paths = [mask["path"] for mask in study["masks"] or () if mask["label"] == name]
            if value == 1 and paths:
                found[row, column] = _mask(paths, root, size)
    where = np.array(list(found), np.int64).reshape(-1, 2)
    pixels = np.array(list(found.values()), bool).reshape(-1, size, size)
    subjects = np.array([study["subject_id"] for study in rows], dtype=object)
    return Truth(subjects, labels, Masks(where[:, 0], where[:, 1], pixels))


def _study_rows(studies: Path, image_ids: Sequence[str] | np.ndarray) -> list[Mapping[str, Any]]:
    wanted = pa.array([str(name) for name in image_ids], pa.string())
    columns = ["image_id", "subject_id", "labels", "masks"]
    table = pq.read_table(studies, columns=columns, filters=pc.is_in(pc.field("image_id"), wanted))
    by_id = {row["image_id"]: row for row in table.to_pylist()}
    for name in wanted.to_pylist():
        if name not in by_id:
            raise EvaluationError(f"Image {name} is not in {Path(studies).name}; rebuild the shards from it.")
    return [by_id[name] for name in wanted.to_pylist()]


def _mask(paths: Sequence[str], root: Path, size: int) -> np.ndarray:
    joined = np.zeros((size, size), bool)
    for path in paths:
        try:
            image = read_grey(inside(root, path))
        except OutsideRootError as error:
            raise EvaluationError(f"The mask {path} lies outside of {root}; correct the studies table.") from error
        except ImageError as error:
            raise EvaluationError(f"The mask {path} under {root} cannot be read: {error.detail}") from error
        joined |= letterbox_mask(image > MASK_LEVEL, size)
    return joined
