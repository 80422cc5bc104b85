"""TBX11K: classes by folder, boxes by category, and COCO files that are none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.tbx11k import CATEGORIES, LESIONS, SIZE, class_of, image_name, write
from cohorts.phantom.simulated import SimulatedStudy, regions
from cohorts.readers.tbx11k import CLASSES, TUBERCULOSIS, Tbx11k
from tests.cohorts.scans import by_image, check, edit, rejected

TRAIN = "annotations/json/TBX11K_train.json"


@pytest.fixture(scope="module")
def studies(simulated) -> list[SimulatedStudy]:
    return simulated[:24]


@pytest.fixture(scope="module")
def layout(studies, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tbx11k")
    write(root, studies)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    root = shutil.copytree(layout, tmp_path / "copy", copy_function=os.link)
    for path in [*(root / "lists").iterdir(), *(root / "annotations" / "json").iterdir()]:
        content = path.read_text()
        path.unlink()
        path.write_text(content)
    return root


def name_of(study: SimulatedStudy) -> str:
    return image_name(study).split("/")[1].removesuffix(".png")


def test_classes_boxes_and_splits(layout, studies):
    scan = check(Tbx11k(layout).scan())
    assert (len(scan.studies), len(scan.rejects)) == (len(studies), 0)
    rows = by_image(scan)
    for study in studies:
        row = rows[name_of(study)]
        assert row["labels"] == {name: float(name == CLASSES[class_of(study)]) for name in CLASSES.values()}
        assert (row["split"] == "test") == (study.split == "test")
        masks = study.resized(SIZE, SIZE).masks
        drawn = [(CATEGORIES[number - 1], box) for name, number in LESIONS.items() for box in _boxes(masks, name)]
        found = [(box["label"], (box["x"], box["y"], box["width"], box["height"])) for box in row["boxes"]]
        assert sorted(found) == sorted(drawn)
        assert [shape["label"] for shape in row["shapes"]] == [TUBERCULOSIS] * len(drawn)
    assert {CLASSES[class_of(study)] for study in studies} > {TUBERCULOSIS}


def _boxes(masks, name):
    return regions(masks[name]) if name in masks else []


def test_families_of_splits(layout, studies, monkeypatch):
    official = by_image(check(Tbx11k(layout, "official").scan()))
    assert {row["split"] for row in official.values()} == {"train", "validate"}
    monkeypatch.setattr("cohorts.readers.tbx11k.VALIDATION_SHARE", 0.4)
    carved = by_image(check(Tbx11k(layout).scan()))
    assert {row["split"] for row in carved.values()} == {"train", "validate", "test"}
    assert all((official[name]["split"] == "validate") == (row["split"] == "test") for name, row in carved.items())


def test_a_release_folder_and_lines_with_imgs(copy, studies, tmp_path):
    (tmp_path / "root").mkdir()
    copy.rename(tmp_path / "root" / "TBX11K")
    path = tmp_path / "root" / "TBX11K" / "lists" / "TBX11K_train.txt"
    edit(path, lambda lines: [f"imgs/{line}" for line in lines])
    scan = check(Tbx11k(tmp_path / "root").scan())
    assert len(scan.studies) == len(studies)
    assert all(path.startswith("TBX11K/imgs/") for path in scan.studies["image_path"].to_pylist())


def test_every_way_a_row_can_fail(copy, studies):
    train = [study for study in studies if study.split != "test"]
    content = json.loads((copy / TRAIN).read_text())
    spoilt = [[1, 2, 0, 4], [1, 2, 3], [1, 2, "x", 4], [600, 2, 3, 4], [float("nan"), 2, 3, 4], [1, 2, 3, 1e999]]
    for number, box in enumerate(spoilt, start=1):
        content["annotations"].append({"image_id": number, "category_id": 1, "bbox": box})
    content["annotations"].append({"image_id": len(spoilt) + 1, "category_id": 9, "bbox": [1, 2, 3, 4]})
    (copy / TRAIN).write_text(json.dumps(content))
    first, lost = image_name(train[0]), train[len(spoilt) + 1]
    (copy / "imgs" / image_name(lost)).unlink()
    edit(copy / "lists" / "TBX11K_val.txt", lambda lines: [*lines, "../x.png", "test/t1.png", first, "tb/tb9999.png"])
    scan = check(Tbx11k(copy).scan())
    assert rejected(scan) == {
        **{name_of(study): "bad_box" for study in train[: len(spoilt) + 1]},
        name_of(lost): "missing_file",
        "../x.png": "path_outside_root",
        "test/t1.png": "path_outside_root",
        f"{name_of(train[0])}#2": "duplicate_id",
        "tb9999": "missing_file",
    }


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"images": []}', "[" * 100_000, '{"images": [1], "categories": [], "annotations": []}']
)
def test_what_is_no_coco_file_is_said(copy, content):
    (copy / TRAIN).write_text(content)
    with pytest.raises(CohortError, match="is no COCO file"):
        Tbx11k(copy).scan()


def test_a_coco_file_of_one_long_line_is_read(copy, studies):
    content = json.loads((copy / TRAIN).read_text())
    content["images"] += [{"id": 10**6 + number, "file_name": f"tb/tb{number}.png"} for number in range(30_000)]
    (copy / TRAIN).write_text(json.dumps(content))
    assert len(check(Tbx11k(copy).scan()).studies) == len(studies)


@pytest.mark.parametrize("name", ["lists/TBX11K_train.txt", "lists/TBX11K_val.txt", TRAIN])
def test_what_is_missing_is_said(copy, name):
    (copy / name).unlink()
    with pytest.raises(CohortError, match=rf"no {name}.*RADALIGN_TBX11K_ROOT.*Tuberculosis"):
        Tbx11k(copy).scan()
