"""VinDr-CXR: one truth of three readers, the agreed test set, and tables that disagree."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cohorts.errors import CohortError
from cohorts.labels import label_matrix
from cohorts.phantom.layouts.vindr_cxr import FINDINGS, image_id, readings, write
from cohorts.phantom.simulated import SimulatedStudy, regions
from cohorts.readers.vindr_cxr import DATASET, LABELS, VinDrCxr, agree, merge_boxes
from tests.cohorts.scans import by_image, check, edit, rejected


@pytest.fixture(scope="module")
def studies(simulated) -> list[SimulatedStudy]:
    return simulated[:32]


@pytest.fixture(scope="module")
def layout(studies, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("vindr_cxr")
    write(root, studies)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    root = shutil.copytree(layout, tmp_path / "copy", copy_function=os.link)
    for path in (root / "annotations").iterdir():
        content = path.read_text()
        path.unlink()
        path.write_text(content)
    return root


def test_headers_are_the_published_ones(layout):
    first = {path.name: path.read_text().splitlines()[0] for path in (layout / "annotations").iterdir()}
    assert first["annotations_train.csv"] == "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
    assert first["annotations_test.csv"] == "image_id,class_name,x_min,y_min,x_max,y_max"
    assert first["image_labels_train.csv"].startswith("image_id,rad_id,Aortic enlargement,Atelectasis,Calcification")
    assert first["image_labels_test.csv"].endswith("Tuberculosis,Other disease,No finding")


def test_labels_splits_and_views(layout, studies):
    scan = check(VinDrCxr(layout).scan())
    assert (len(scan.studies), len(scan.rejects)) == (len(studies), 0)
    rows = by_image(scan)
    for study in studies:
        row = rows[image_id(study)]
        votes = Counter(FINDINGS[name] for _, found in readings(study) for name in found)
        readers = sum(1 for _ in readings(study))
        for label in FINDINGS.values():
            wanted = -1 if readers > 1 and votes[label] == 1 else int(votes[label] > 0)
            assert row["labels"][label] == wanted
        assert row["labels"].keys() == set(LABELS)
        assert (row["split"] == "test") == (study.split == "test")
        assert row["view"] == "PA"
    assert {row["split"] for row in rows.values()} == {"train", "validate", "test"}
    assert any(value == -1 for row in rows.values() for value in row["labels"].values())


def test_boxes_of_several_readers_are_one(layout, studies):
    rows = by_image(VinDrCxr(layout).scan())
    shared = 0
    for study in studies:
        found = [names for _, names in readings(study)]
        boxes = rows[image_id(study)]["boxes"]
        for name in FINDINGS:
            parts = regions(study.masks[name]) if any(name in names for names in found) else []
            own = [box for box in boxes if box["label"] == FINDINGS[name]]
            if all(name in names for names in found) and all(box[2] > 6 for box in parts):
                shift = 1 if len(found) > 1 else 0  # the mean of shifts of 0, 1 and 2 pixels
                got = sorted((box["x"], box["y"], box["width"], box["height"]) for box in own)
                assert got == [(x + shift, y, width, height) for x, y, width, height in parts]
                shared += len(own)
    assert shared > 20


def test_only_overlapping_boxes_of_other_readers_are_joined():
    boxes = pd.DataFrame(
        [
            ("a", "ILD", "R1", 0.0, 0.0, 10.0, 10.0),
            ("a", "ILD", "R2", 2.0, 0.0, 10.0, 10.0),
            ("a", "ILD", "R1", 1.0, 0.0, 10.0, 10.0),  # of the first reader, but overlaps the second's
            ("a", "ILD", "R3", 6.0, 0.0, 10.0, 10.0),  # IoU with the second 0.43
            ("a", "ILD", "R3", 50.0, 0.0, 10.0, 10.0),
            ("a", "COPD", "R2", 0.0, 0.0, 10.0, 10.0),
            ("b", "ILD", "R2", 0.0, 0.0, 10.0, 10.0),
            ("b", "ILD", "R2", 1.0, 0.0, 10.0, 10.0),
        ],
        columns=["image_id", "label", "reader", "x", "y", "width", "height"],
    )
    merged = merge_boxes(boxes)
    assert merged[["image_id", "label", "x"]].to_numpy().tolist() == [
        ["a", "ILD", 2.25],
        ["a", "ILD", 50.0],
        ["a", "COPD", 0.0],
        ["b", "ILD", 0.0],
        ["b", "ILD", 1.0],
    ]
    assert merge_boxes(boxes[:0]).empty


def test_a_reader_counts_once_and_an_empty_label_is_absent():
    table = pd.DataFrame({"image_id": ["a", "a", "a", "b"], "rad_id": ["R1", "R1", "R2", "R1"]})
    table = table.assign(**{**dict.fromkeys(LABELS, "0"), "ILD": ["1", "1", "0", ""]})
    values = table[list(LABELS)].apply(pd.to_numeric).to_numpy(np.float32)
    agreed = agree(table, values).set_index("name")
    assert agreed["ILD"].to_dict() == {"a": -1, "b": 0}
    assert not agreed["spoilt"].any()


def test_a_label_of_one_reader_is_present_in_training(layout):
    labels = check(VinDrCxr(layout).scan()).studies["labels"]
    assert (label_matrix(labels, LABELS) == -1).any()
    assert DATASET.uncertain == "ones"


def test_release_folders(copy, studies, tmp_path):
    release = tmp_path / "root" / "vindr-cxr" / "1.0.0"
    release.parent.mkdir(parents=True)
    copy.rename(release)
    scan = check(VinDrCxr(tmp_path / "root").scan())
    assert len(scan.studies) == len(studies)
    assert all(path.startswith("vindr-cxr/1.0.0/") for path in scan.studies["image_path"].to_pylist())


def test_every_way_a_row_can_fail(copy, studies):
    test = [image_id(study) for study in studies if study.split == "test"]
    train = [image_id(study) for study in studies if study.split != "test"]
    zeros = ",".join("0" * len(LABELS))
    (copy / "test" / f"{test[0]}.dicom").unlink()
    edit(
        copy / "annotations" / "image_labels_train.csv",
        lambda lines: [*lines, f"../x,R1,{zeros}", f",R1,{zeros}", f"bad,R1,2{zeros[1:]}", f"{test[1]},R1,{zeros}"],
    )
    spoilt = ["1,2,nan,9", "5,5,5,9", "9,9,1,1", "1,2,50000,60000", "1,2,3,", "-9,-9,-1,-1", "x,1,2,3", "1,2,inf,4"]
    lines = [f"{name},R8,ILD,{box}" for name, box in zip(train, spoilt, strict=False)]
    lines += [f"{train[8]},R8,Measles,1,2,3,4", "gone,R8,ILD,1,2,3,4"]
    edit(copy / "annotations" / "annotations_train.csv", lambda old: [*old, *lines])
    scan = check(VinDrCxr(copy).scan())
    assert rejected(scan) == {
        **dict.fromkeys(train[:9], "bad_box"),
        "../x": "path_outside_root",
        "": "path_outside_root",
        "bad": "bad_label",
        test[0]: "missing_file",
        test[1]: "missing_file",
        f"{test[1]}#2": "duplicate_id",
    }


@pytest.mark.parametrize("name", ["image_labels_train.csv", "image_labels_test.csv", "annotations_test.csv"])
def test_what_is_missing_is_said(copy, name):
    (copy / "annotations" / name).unlink()
    with pytest.raises(CohortError, match=rf"no annotations/{name}.*RADALIGN_VINDR_CXR_ROOT.*physionet"):
        VinDrCxr(copy).scan()


def test_a_missing_label_is_said(copy):
    edit(copy / "annotations" / "image_labels_test.csv", lambda lines: [lines[0].replace("ILD", "XYZ"), *lines[1:]])
    with pytest.raises(CohortError, match="no column ILD"):
        VinDrCxr(copy).scan()
