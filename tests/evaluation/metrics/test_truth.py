import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from cohorts.tables import STUDIES
from evaluation.errors import EvaluationError
from evaluation.metrics.truth import select_masks
from imaging.letterbox import letterbox_mask
from ingestion.tables.regions import make_regions

CLASSES = ["effusion", "nodule", "edema"]


@pytest.fixture
def archive(tmp_path):
    """Images: a with two effusion masks and a nodule, b without, c uncertain; masks of 40 x 20 pixels."""
    (tmp_path / "truth").mkdir()
    for name, rows in (("one", slice(0, 10)), ("two", slice(30, 40)), ("nodule", slice(20, 22))):
        mask = np.zeros((40, 20), np.uint8)
        mask[rows, 3:17] = 255
        mask[15] = 127  # not above the level
        cv2.imwrite(str(tmp_path / "truth" / f"{name}.png"), mask)
    masks = [("effusion", "one"), ("effusion", "two"), ("nodule", "nodule"), ("edema", "one")]
    rows = [
        row("a", [("effusion", 1.0), ("nodule", 1.0), ("edema", 0.0)], masks),
        row("b", None, None),
        row("c", [("effusion", -1.0), ("nodule", 0.0)], masks[:1]),
    ]
    write(tmp_path, rows)
    return tmp_path


def row(name, labels, masks):
    common = {"cohort": "toy", "study_id": name, "image_path": "", "view": "PA", "split": "test"}
    named = masks and [{"label": label, "path": f"truth/{file}.png", "threshold": 127} for label, file in masks]
    return {**common, "image_id": name, "subject_id": f"p{name}", "labels": labels, "masks": named}


def write(folder, rows):
    pq.write_table(pa.Table.from_pylist(rows, STUDIES), folder / "studies.parquet")


def load(root, image_ids, classes, size, shape=(40, 20), archive=None):
    """The masks, from a table of regions that is made of the whole archive."""
    studies = pq.read_table((archive or root) / "studies.parquet").to_pylist()
    shapes = {study["image_id"]: shape for study in studies}
    studies = [study for study in studies if study["masks"] or study["shapes"]]
    return select_masks(make_regions(studies, root, size, shapes), image_ids, classes, size)


def test_masks_are_in_the_order_asked_for(archive):
    masks = load(archive, ["c", "a", "b"], CLASSES, 16)
    assert list(zip(masks.rows, masks.columns, strict=True)) == [(1, 0), (1, 1)]
    masks = load(archive, ["c", "a", "b"], CLASSES[::-1], 16)
    assert list(zip(masks.rows, masks.columns, strict=True)) == [(1, 1), (1, 2)]


def test_masks_of_a_class_are_joined_and_letterboxed(archive):
    masks = load(archive, ["a"], CLASSES, 16)
    expected = np.zeros((40, 20), bool)
    expected[0:10, 3:17] = expected[30:40, 3:17] = True
    np.testing.assert_array_equal(masks.pixels[0], letterbox_mask(expected, 16))
    assert masks.pixels.dtype == bool
    assert masks.pixels[1].any()


def test_no_images_and_no_masks(archive):
    for image_ids in ([], ["b"]):
        masks = load(archive, image_ids, CLASSES, 16)
        assert masks.pixels.shape == (0, 16, 16)
        assert len(masks) == 0


@pytest.mark.parametrize(("path", "message"), [("gone", "cannot be read"), ("../../secret", "lies outside of")])
def test_a_mask_that_cannot_be_read_is_named(archive, path, message):
    write(archive, [row("a", [("effusion", 1.0)], [("effusion", path)])])
    with pytest.raises(EvaluationError, match=message):
        load(archive, ["a"], CLASSES, 16)


def test_threshold_of_a_mask_and_shapes_join(archive):
    mask = np.zeros((40, 20), np.uint8)
    mask[:8] = 1  # a file of 0 and 1
    cv2.imwrite(str(archive / "truth" / "small.png"), mask)
    shapes = [
        {"label": "effusion", "kind": "rectangle", "points": [0, 30, 20, 36]},
        {"label": "nodule", "kind": "rectangle", "points": [0, 0, 20, 40]},
    ]
    masks = [{"label": "effusion", "path": "truth/small.png", "threshold": 0}]
    study = {**row("a", [("effusion", 1.0)], None), "masks": masks, "shapes": shapes, "image_path": "image.png"}
    write(archive, [study])
    masks = load(archive, ["a"], CLASSES, 40)
    expected = np.zeros((40, 20), bool)
    expected[:8] = expected[30:36] = True
    np.testing.assert_array_equal(masks.pixels, letterbox_mask(expected, 40)[None])


def test_masks_on_object_storage(archive):
    root = UPath("memory://truth")
    root.fs.put(f"{archive}/", root.path, recursive=True)
    here, there = (load(place, ["a"], CLASSES, 16, archive=archive) for place in (archive, root))
    np.testing.assert_array_equal(here.pixels, there.pixels)


def test_a_shape_that_cannot_be_drawn_is_named(archive):
    shape = {"label": "effusion", "kind": "rle", "points": [12, 9]}
    write(archive, [{**row("a", [("effusion", 1.0)], None), "shapes": [shape], "image_path": "image.png"}])
    with pytest.raises(EvaluationError, match=r"effusion of image\.png cannot be drawn: .*beyond the 4 x 4"):
        load(archive, ["a"], CLASSES, 16, shape=(4, 4))
