"""RSNA Pneumonia stage 2: rows per box, classes repeated with them, images whose labels are not public."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.rsna_pneumonia import SIZE, boxes, patient_id, write
from cohorts.readers.rsna_pneumonia import RsnaPneumonia
from tests.cohorts.scans import by_image, check, edit, rejected

LABELS = "stage_2_train_labels.csv"


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rsna")
    write(root, simulated)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    root = tmp_path / "copy"
    root.mkdir()
    for folder in ("stage_2_train_images", "stage_2_test_images"):
        shutil.copytree(layout / folder, root / folder, copy_function=os.link)
    for table in layout.glob("*.csv"):
        shutil.copy(table, root)
    return root


def test_boxes_classes_and_unlabelled_images(layout, simulated):
    scan = check(RsnaPneumonia(layout).scan())
    assert scan.source_rows == len(simulated)
    unlabelled = {patient_id(study) for study in simulated if study.split == "test"}
    assert rejected(scan) == dict.fromkeys(unlabelled, "no_labels")
    rows = by_image(scan)
    counts = Counter()
    for study in simulated:
        if study.split == "test":
            continue
        row = rows[patient_id(study)]
        expected = boxes(study.resized(SIZE, SIZE))
        counts[len(expected)] += 1
        assert [tuple(box[side] for side in ("x", "y", "width", "height")) for box in row["boxes"]] == expected
        corners = [[x, y, x + width, y + height] for x, y, width, height in expected]
        assert [shape["points"] for shape in row["shapes"]] == corners
        assert row["labels"]["Pneumonia"] == row["labels"]["Lung Opacity"] == bool(expected)
        assert row["labels"]["Normal"] == (not study.masks)
        assert sum(row["labels"].values()) == (2 if expected else 1)
    assert counts[0] > 0
    assert max(counts) > 1  # several rows of one image


def test_the_label_file_looks_like_the_real_one(layout):
    lines = (layout / LABELS).read_text().splitlines()
    assert lines[0] == "patientId,x,y,width,height,Target"
    assert any(line.endswith(",,,,,0") for line in lines)
    assert all(line.endswith(",0") or line.count(".0,") == 4 for line in lines[1:])
    header = pydicom.dcmread(next((layout / "stage_2_train_images").iterdir()), stop_before_pixels=True)
    assert (header.Modality, header.PhotometricInterpretation, header.BitsStored, header.Rows) == (
        "CR",
        "MONOCHROME2",
        8,
        1024,
    )


def test_split_families(layout):
    one, other = (by_image(check(RsnaPneumonia(layout, split).scan())) for split in RsnaPneumonia.splits)
    assert any(one[image]["split"] != other[image]["split"] for image in one)
    assert {row["split"] for row in one.values()} == {"train", "validate", "test"}


def test_every_way_an_image_can_fail(copy):
    before = check(RsnaPneumonia(copy).scan())
    extra = [
        "gone,1.0,2.0,3.0,4.0,1",
        "../../etc/passwd,,,,,0",
        ",,,,,0",
        "both,,,,,0",
        "both,1.0,2.0,3.0,4.0,1",
        "maybe,,,,,2",
        "flat,1.0,2.0,0.0,4.0,1",
        "half,1.0,,3.0,4.0,1",
        "half,1.0,2.0,3.0,4.0,1",
        "words,a,2.0,3.0,4.0,1",
        "endless,inf,2.0,3.0,4.0,1",
        "huge,-5000,-5000,20000,20000,1",
        "off,1025,2.0,3.0,4.0,1",
        "left,-9,2.0,3.0,4.0,1",
        *(f"many,{number},2.0,3.0,4.0,1" for number in range(501)),
    ]
    edit(copy / LABELS, lambda lines: [*lines, *extra])
    scan = check(RsnaPneumonia(copy).scan())
    assert scan.source_rows == before.source_rows + 13
    assert scan.studies.equals(before.studies)
    assert {image: reason for image, reason in rejected(scan).items() if image not in rejected(before)} == {
        "gone": "missing_file",
        "../../etc/passwd": "path_outside_root",
        "": "path_outside_root",
        "both": "bad_target",
        "maybe": "bad_target",
        "flat": "bad_box",
        "half": "bad_box",
        "words": "bad_box",
        **dict.fromkeys(("endless", "huge", "off", "left", "many"), "bad_box"),
    }


def test_without_classes_and_without_test_images(copy):
    (copy / "stage_2_detailed_class_info.csv").unlink()
    shutil.rmtree(copy / "stage_2_test_images")
    scan = check(RsnaPneumonia(copy).scan())
    assert len(scan.rejects) == 0
    assert all(set(row["labels"]) == {"Pneumonia"} for row in by_image(scan).values())


def test_what_is_missing_is_said(copy):
    (copy / LABELS).write_text("patientId,Target\n")
    with pytest.raises(CohortError, match="has no column x, y, width, height"):
        RsnaPneumonia(copy).scan()
    (copy / LABELS).unlink()
    with pytest.raises(CohortError, match=rf"no {LABELS}.*RADALIGN_RSNA_PNEUMONIA_ROOT.*kaggle"):
        RsnaPneumonia(copy).scan()


def test_two_test_images_of_one_name_are_two_rows(copy):
    before = RsnaPneumonia(copy).scan()
    path = next((copy / "stage_2_test_images").glob("*.dcm"))
    (path.parent / "more").mkdir()
    (path.parent / "more" / path.name).hardlink_to(path)
    scan = check(RsnaPneumonia(copy).scan())
    assert scan.source_rows == before.source_rows + 1
    assert rejected(scan)[f"{path.stem}#2"] == "no_labels"
