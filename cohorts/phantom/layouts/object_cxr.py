"""Object-CXR: half of the images have bright foreign objects, outlined as the annotators did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import SimulatedStudy
from imaging.shapes import shape_mask

KINDS = ("rectangle", "ellipse", "polygon")  # by the number they have in the tables
PARTS = {"train": "train", "validate": "dev", "test": "test"}
METAL = 235  # grey level
Shape = tuple[str, list[int]]


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write train/, dev/, test/ and their tables, the images numbered through in that order."""
    rows: dict[str, list[tuple[str, str]]] = {part: [] for part in PARTS.values()}
    for number, study in enumerate(sorted(studies, key=lambda study: list(PARTS).index(study.split)), start=1):
        part, shapes = PARTS[study.split], foreign_objects(study)
        name = f"{number:05d}.jpg"
        write_image(root / part / name, paint(study.grey, shapes))
        rows[part].append((f"/data/test/{name}" if part == "test" else name, annotation(shapes)))
    for part, table in rows.items():
        write_rows(root / f"{part}.csv", ("image_path" if part == "test" else "image_name", "annotation"), table)


def annotation(shapes: Sequence[Shape]) -> str:
    """Shapes as a field of the tables: `0 812 1342 901 1410;2 100 120 140 118 150 160`."""
    return ";".join(" ".join(map(str, (KINDS.index(kind), *points))) for kind, points in shapes)


def paint(grey: np.ndarray, shapes: Sequence[Shape]) -> np.ndarray:
    """The image with every shape in it as bright as metal."""
    painted = grey.copy()
    for kind, points in shapes:
        painted[shape_mask(kind, points, *grey.shape) > 0] = METAL
    return painted


def foreign_objects(study: SimulatedStudy) -> list[Shape]:
    """None on every second image, else one to four at places that depend on the study's number alone."""
    if study.index % 2:
        return []
    rng = np.random.default_rng([study.index, 3])
    height, width = study.pixels.shape
    shapes = []
    for _ in range(int(rng.integers(1, 5))):
        kind = KINDS[int(rng.integers(len(KINDS)))]
        across, down = (int(rng.integers(6, max(7, side // 8))) for side in (width, height))
        left, top = int(rng.integers(0, width - across)), int(rng.integers(0, height - down))
        right, bottom = left + across, top + down
        corners = [left, top, right, top + down // 3, left + across // 2, bottom]  # a triangle
        shapes.append((kind, corners if kind == "polygon" else [left, top, right, bottom]))
    return shapes
