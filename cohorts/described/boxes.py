"""Boxes of findings in a table of a described archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohorts.described.description import BoxSource
from cohorts.described.words import read_number
from cohorts.rows import are_broken

if TYPE_CHECKING:
    import pandas as pd

LARGEST_SIDE = 100_000.0  # pixels; no image that is read has more


def read_boxes(table: pd.DataFrame, paths: pd.Series, source: BoxSource) -> tuple[pd.DataFrame, frozenset[str]]:
    """The boxes (image_id, here the path of the image, label, x, y, width, height) of the rows that have one, and the
    paths of the images with a box that nobody drew."""
    import pandas as pd

    numbers = ("x", "y", "width", "height")
    columns = table[[getattr(source, name) for name in ("label", *numbers)]]
    given = (columns != "").any(axis=1)
    boxes = pd.DataFrame({"image_id": paths[given], "label": table.loc[given, source.label]})
    for name in numbers:
        boxes[name] = table.loc[given, getattr(source, name)].map(read_number).astype(float)
    broken = are_broken(boxes, LARGEST_SIDE) | (boxes["label"] == "").to_numpy()
    spoilt = frozenset(boxes.loc[broken, "image_id"])
    return boxes[~boxes["image_id"].isin(spoilt)].reset_index(drop=True), spoilt
