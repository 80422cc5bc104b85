"""Object-CXR: rectangles, ellipses and polygons as simulated, boxes around them, and both headers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.phantom.layouts.object_cxr import METAL, annotation, foreign_objects, write
from cohorts.readers.object_cxr import KINDS, ObjectCxr, parse_shape, parse_shapes
from cohorts.tables import STUDIES
from imaging.shapes import shape_mask
from ingestion.stages.images import decode_batch


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("object_cxr")
    write(root, simulated)
    return root


@pytest.fixture
def tables(tmp_path):
    """Writes tables, and an empty image for each name of train."""

    def write_tables(train: str, dev: str = "image_name,annotation\n", images: tuple[str, ...] = ()) -> ObjectCxr:
        (tmp_path / "train.csv").write_text("image_name,annotation\n" + train)
        (tmp_path / "dev.csv").write_text(dev)
        (tmp_path / "train").mkdir()
        for name in images:
            (tmp_path / "train" / name).touch()
        return ObjectCxr(tmp_path)

    return write_tables


def test_layout(layout, simulated):
    scan = ObjectCxr(layout).scan()
    assert (scan.source_rows, len(scan.studies), len(scan.rejects)) == (80, 80, 0)
    assert scan.studies.schema.equals(STUDIES, check_metadata=True)
    order = ("train", "validate", "test")
    for row, study in zip(
        scan.studies.to_pylist(), sorted(simulated, key=lambda study: order.index(study.split)), strict=True
    ):
        shapes = foreign_objects(study)
        assert row["split"] == study.split
        assert [(shape["kind"], shape["points"]) for shape in row["shapes"]] == shapes
        assert dict(row["labels"]) == {"foreign object": float(bool(shapes))}
        for box, (kind, points) in zip(row["boxes"], shapes, strict=True):
            filled = shape_mask(kind, points, *study.pixels.shape)
            left, top = int(box["x"]), int(box["y"])
            inside = filled[top : top + int(box["height"]), left : left + int(box["width"])]
            assert inside.sum() == filled.sum() > 0
    kinds = {shape["kind"] for row in scan.studies.to_pylist() for shape in row["shapes"]}
    assert kinds == {"rectangle", "ellipse", "polygon"}


def test_what_was_drawn_shines_where_the_shapes_are(layout):
    cohort = ObjectCxr(layout)
    studies = cohort.scan().studies
    assert len(decode_batch(cohort.root, studies, 32)[0]) == 80
    inside = []
    for row in studies.to_pylist():
        image = cv2.imread(str(layout / row["image_path"]), cv2.IMREAD_GRAYSCALE)
        boxes = [shape["points"] for shape in row["shapes"] if shape["kind"] == "rectangle"]
        inside += [image[shape_mask("rectangle", box, *image.shape) > 0].mean() for box in boxes]
    assert np.mean(inside) == pytest.approx(METAL, abs=8)


def test_width_and_height_are_not_swapped(tables):
    """LoVT's box files have (x, y, height, width)."""
    cohort = tables("a.jpg,0 10 20 40 30;2 1 2 3 2 3 10\n", images=("a.jpg",))
    first, second = cohort.scan().studies["boxes"][0].as_py()
    assert (first["x"], first["y"], first["width"], first["height"]) == (10, 20, 30, 10)
    assert (second["x"], second["y"], second["width"], second["height"]) == (1, 2, 2, 8)


def test_no_object_is_an_empty_list_and_not_null(tables):
    row = tables("a.jpg,\n", images=("a.jpg",)).scan().studies.to_pylist()[0]
    assert (row["boxes"], row["shapes"], dict(row["labels"])) == ([], [], {"foreign object": 0})


def test_families_of_splits(layout, simulated):
    scan = ObjectCxr(layout, "dev_as_test").scan()
    by_split = {split: scan.studies["split"].to_pylist().count(split) for split in ("train", "validate", "test")}
    of_layout = [study.split for study in simulated]
    assert by_split["test"] == of_layout.count("validate")
    assert by_split["train"] + by_split["validate"] == of_layout.count("train")
    assert by_split["train"] > by_split["validate"] > 0
    assert set(scan.rejects["reason"].to_pylist()) == {"no_split"}
    assert len(scan.rejects) == of_layout.count("test")


def test_test_csv_may_be_absent_and_either_header_is_read(tables):
    dev = "image_path,annotation\n/some/where/b.jpg,1 1 2 3 4\n"
    cohort = tables("a.jpg,\n", dev, images=("a.jpg",))
    (cohort.root / "dev").mkdir()
    (cohort.root / "dev" / "b.jpg").touch()
    assert cohort.scan().studies["image_path"].to_pylist() == ["train/a.jpg", "dev/b.jpg"]


@pytest.mark.parametrize("name", ["image_name", "image_path"])
def test_tables_without_a_row(tables, name):
    cohort = tables("", f"{name},annotation\n")
    assert cohort.scan().source_rows == 0


def test_spoilt_rows_are_rejects(tables):
    images = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg")
    cohort = tables(
        "a.jpg,0 1 2 3 4\na.jpg,\nb.jpg,0 5 2 3 4\nc.jpg,0 1 2 3 4;3 1 2 3 4\nd.jpg,2 1 2 3 4\ne.jpg,0 1 2 x 4\n"
        "f.jpg,1 1 2 3 nan\ngone.jpg,\n../../passwd,\n/etc/passwd,\n,\n",
        images=images,
    )
    scan = cohort.scan()
    assert scan.source_rows == 11
    assert scan.studies["image_id"].to_pylist() == ["a"]
    assert scan.rejects["reason"].to_pylist() == [
        "duplicate_id",
        *["bad_annotation"] * 5,
        "missing_file",
        *["path_outside_root"] * 3,
    ]
    assert len(scan.studies["shapes"][0]) == 1


def test_shapes_that_no_expert_drew_are_spoilt():
    annotations = [
        "2 0 1e308 5 -1e308 5 50",
        "1 0 0 1e10 5",
        "2" + " 1 2" * 20_001,
        "0 1 2 3 4;" * 501,
        "0 1 2 3 4;" * 500,
    ]
    shapes, spoilt = parse_shapes(pd.Series(annotations))
    assert spoilt.tolist() == [True, True, True, True, False]
    assert shapes["row"].tolist() == [4] * 500


NUMBERS = st.integers(0, 3000)


@given(st.sampled_from(list(KINDS.values())), st.lists(NUMBERS, min_size=4, max_size=12))
def test_every_shape_that_is_written_is_read_and_others_are_not(kind, points):
    corners = len(points) == 4 and points[0] < points[2] and points[1] < points[3]
    many = len(points) >= 6 and len(points) % 2 == 0
    found, read = parse_shape(annotation([(kind, points)]))
    assert found == (kind if (many if kind == "polygon" else corners) else "")
    assert read == points


@given(st.text(max_size=30).filter(lambda text: text.strip()))
def test_no_text_makes_the_parser_fail(text):
    kind, points = parse_shape(text)
    assert kind in ("", *KINDS.values())
    assert not kind or np.isfinite(points).all()


def test_what_is_missing_is_told(tmp_path, tables):
    with pytest.raises(CohortError, match=r"no train\.csv in .*RADALIGN_OBJECT_CXR_ROOT.*academictorrents"):
        ObjectCxr(tmp_path).scan()
    with pytest.raises(CohortError, match=r"dev\.csv has no column annotation"):
        tables("", "image_name\nb.jpg\n").scan()
