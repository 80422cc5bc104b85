"""Steps from the rows of a metadata file to studies and rejects that most readers share. Each works on columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cohorts.archive.folders import is_folder, matches
from cohorts.archive.names import escape_bytes, is_escaped
from cohorts.archive.paths import OutsideRootError, are_files, files_in, inside, stays_inside
from cohorts.errors import CohortError
from cohorts.views import NOT_CHOSEN

if TYPE_CHECKING:
    import pandas as pd

COMMON_DETAILS = {
    NOT_CHOSEN: "Its view is none of those that were asked for (inventory: views; frontal, unless you say otherwise).",
    "unreadable_name": "The name of the file, or of a folder that holds it, is no UTF-8; rename it.",
}
MOST_SHAPES = 500  # of an image; the most crowded published ones have some twenty
PLAIN_NAMES = r"[0-9A-Za-z][0-9A-Za-z._-]*"  # an identifier that can be a part of a path and cannot leave it


def number_duplicates(ids: pd.Series) -> pd.Series:
    """Make ids unique: a repetition becomes `<id>#2` and so on, or the next name that is free."""
    numbered, taken = ids.copy(), set(ids)
    last: dict[str, int] = {}
    for row in np.flatnonzero(ids.duplicated()).tolist():
        name = str(ids.iat[row])
        number = last.get(name, 1) + 1
        while f"{name}#{number}" in taken:
            number += 1
        last[name] = number
        numbered.iat[row] = f"{name}#{number}"
        taken.add(numbered.iat[row])
    return numbered


def first_reasons(conditions: Mapping[str, pd.Series | np.ndarray], rows: int) -> np.ndarray:
    """For each of `rows` the reason whose condition holds first, as text, empty where none does."""
    reasons = np.full(rows, "", dtype=object)
    for reason, condition in conditions.items():
        reasons[(reasons == "") & np.asarray(condition, dtype=bool)] = reason
    return reasons


def look_for_files(root: Path, paths: pd.Series, reasons: np.ndarray, reason: str = "missing_file") -> None:
    """Put `reason` against the rows that have none yet and whose file is not there, `path_outside_root` against
    those whose path climbs out of the root, `unreadable_name` against those whose path had to be escaped. What is there
    and is no regular file counts as not there. Links are followed later, when a file is opened."""
    import pandas as pd

    open_rows = np.flatnonzero(reasons == "")
    codes, found_paths = pd.factorize(paths.iloc[open_rows])
    distinct = list(found_paths)
    climbs = np.array([not stays_inside(path) for path in distinct], dtype=bool)
    foreign = climbs & np.array([is_escaped(path) for path in distinct], dtype=bool)
    present = are_files(root, distinct)
    found = np.select([foreign, climbs, ~present], ["unreadable_name", "path_outside_root", reason], "").astype(object)
    reasons[open_rows] = found[codes]


def files_below(root: Path, patterns: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Relative paths of the files with one of `suffixes` at any depth of the folders that match `patterns` (["."]: the
    root), in a fixed order. Bytes of a name that are no UTF-8 are escaped; such a path leads to no file.

    CohortError names a folder that is a link out of the archive, as none of its files could be read, or that cannot be
    listed, as nobody knows its files.
    """
    found = []
    for folder in [root] if patterns == ["."] else [path for name in patterns for path in matches(root, name)]:
        if not is_folder(folder):  # images_001.tar.gz beside images_001, or a link that leads back to itself
            continue
        _check_inside(root, folder)
        for path in files_in(root, folder):
            name = PurePosixPath(path).name
            if name.endswith(tuple(suffixes)) and not name.startswith("."):  # macOS leaves ._ copies behind
                found.append(escape_bytes(path))
    return found


def _check_inside(root: Path, folder: Path) -> None:
    try:
        if folder != root:
            inside(root, folder.relative_to(root).as_posix())
    except OutsideRootError as error:
        raise CohortError(f"{folder} is a link out of {root}; set the root to the folder that holds it.") from error


def list_column(
    ids: pd.Series, items: pd.DataFrame, item: pa.StructType, annotated: pd.Series | np.ndarray | None = None
) -> pa.ListArray:
    """`items` (image_id and the fields of `item`) as one list for each of `ids`, in the order of `items`.

    A row without items is null, or an empty list where `annotated` says that it was annotated and nothing was found.
    """
    import pandas as pd

    rows = pd.Index(ids).get_indexer(pd.Index(items["image_id"]))
    order = np.argsort(rows, kind="stable")[(rows < 0).sum() :]
    counts = np.bincount(rows[order], minlength=len(ids))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    fields = [pa.array(items[field.name].iloc[order].tolist(), field.type) for field in item]
    values = pa.StructArray.from_arrays(fields, fields=list(item))
    looked = np.zeros(len(ids), bool) if annotated is None else np.asarray(annotated, bool)
    absent = pa.array((counts == 0) & ~looked)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, pa.list_(item), mask=absent)


def are_broken(boxes: pd.DataFrame, side: float | np.ndarray) -> np.ndarray:
    """For each box (image_id, x, y, width, height), whether nobody drew it in an image of `side` x `side` pixels: a
    number is missing or not finite, it has no size, is larger than the image, its centre lies off the image, or the
    image has more than MOST_SHAPES. `side` may be the (boxes, 2) widths and heights of the images."""
    corners, lengths = (boxes[list(names)].to_numpy(np.float64) for names in (("x", "y"), ("width", "height")))
    with np.errstate(invalid="ignore", over="ignore"):
        centres = corners + lengths / 2
        sound = (lengths > 0) & (lengths <= side) & (centres >= 0) & (centres <= side)
    crowded = boxes.groupby("image_id")["image_id"].transform("size").to_numpy() > MOST_SHAPES
    broken: np.ndarray = ~sound.all(axis=1) | crowded
    return broken


def rectangles(boxes: pd.DataFrame) -> pd.DataFrame:
    """Boxes (image_id, label, x, y, width, height) as shapes, for tasks that take the box itself as the mask."""
    import pandas as pd

    corners = np.stack([boxes["x"], boxes["y"], boxes["x"] + boxes["width"], boxes["y"] + boxes["height"]], axis=1)
    points = pd.Series(list(corners.astype(np.float64)), boxes.index, dtype=object)
    return boxes[["image_id", "label"]].assign(kind="rectangle", points=points)
