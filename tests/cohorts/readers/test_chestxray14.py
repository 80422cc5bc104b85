"""ChestX-ray14: both editions of the label file, both places of the images, official lists and boxes."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.chestxray14 import finding_names, image_name, write
from cohorts.phantom.simulated import SimulatedStudy
from cohorts.readers.chestxray14 import FINDINGS, ChestXray14
from imaging.shapes import bounding_box, shape_mask
from tests.cohorts.scans import by_image, check, rejected

LABELS = "Data_Entry_2017_v2020.csv"


@pytest.fixture(scope="module")
def images(simulated) -> list[SimulatedStudy]:
    return simulated[:32]


@pytest.fixture(scope="module")
def layout(images, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("chestxray14")
    write(root, images)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    return shutil.copytree(layout, tmp_path / "copy", copy_function=os.link)


def rewrite(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def test_headers_are_the_published_ones(layout):
    assert (layout / LABELS).read_text().splitlines()[0] == (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
        "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    assert (layout / "BBox_List_2017.csv").read_text().splitlines()[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def test_labels_views_and_official_split(layout, images):
    scan = check(ChestXray14(layout).scan())
    assert (len(scan.studies), len(scan.rejects)) == (len(images), 0)
    for row, study in zip(scan.studies.to_pylist(), images, strict=True):
        positive = {name for name, value in row["labels"] if value == 1}
        assert positive == (set(finding_names(study)) or {"No Finding"})
        assert dict(row["labels"]).keys() == {*FINDINGS, "No Finding"}
        assert row["image_id"] + ".png" == image_name(study)
        assert (row["view"], row["subject_id"]) == (study.view, str(study.patient + 1))
        assert (row["split"] == "test") == (study.split == "test")
        assert (layout / row["image_path"]).is_file()
    assert {path.split("/")[0] for path in scan.studies["image_path"].to_pylist()} == {"images_001", "images_002"}


def test_validation_is_carved_from_train_val_by_patient(layout, monkeypatch):
    monkeypatch.setattr("cohorts.readers.chestxray14.VALIDATION_SHARE", 0.4)
    shares = Counter(check(ChestXray14(layout).scan()).studies["split"].to_pylist())
    assert 0.2 < shares["validate"] / (shares["train"] + shares["validate"]) < 0.6


def test_shares_instead_of_the_lists(layout):
    official, shared = (by_image(check(ChestXray14(layout, split).scan())) for split in ("official", "80/10/10"))
    assert official.keys() == shared.keys()
    assert any(official[image]["split"] != row["split"] for image, row in shared.items())


def test_boxes_are_those_drawn_and_infiltrate_is_infiltration(layout, images):
    rows = by_image(ChestXray14(layout).scan())
    labels = Counter()
    for study in images:
        row = rows[image_name(study).removesuffix(".png")]
        if study.split != "test":
            assert row["boxes"] is None
            continue
        for box, shape in zip(row["boxes"] or (), row["shapes"] or (), strict=True):
            labels[box["label"]] += 1
            assert box["label"] in finding_names(study)
            drawn_box = bounding_box(shape_mask("rectangle", shape["points"], 1024, 1024))
            assert drawn_box == pytest.approx([box[side] for side in ("x", "y", "width", "height")], abs=1)
    assert labels["Infiltration"] > 0
    assert "Infiltrate" in (layout / "BBox_List_2017.csv").read_text()


def test_boxes_that_nobody_drew_reject_their_images(copy):
    before = check(ChestXray14(copy).scan())
    spoilt = [
        "1,2,-5,9",
        "inf,2,5,9",
        "nan,2,5,9",
        ",2,5,9",
        "1,2,0,9",
        "5000,2,5,9",
        "-9,2,5,9",
        "1,2,5000,9",
        "x,2,5,9",
    ]
    names = [f"{row}.png" for row in before.studies["image_id"].to_pylist()]
    lines = [f"{name},Mass,{box},," for name, box in zip(names, spoilt, strict=False)]
    header = (copy / "BBox_List_2017.csv").read_text().splitlines()[0]
    sound = [f"{names[10]},Mass,1,2,5,9,,", f"{names[10]},Mass,1000,2,30,9,,", "gone.png,Mass,1,2,5,9,,"]
    rewrite(copy / "BBox_List_2017.csv", "\n".join([header, *lines, f"{names[9]},Evil,1,2,5,9,,", *sound]))
    scan = check(ChestXray14(copy).scan())
    assert rejected(scan) == dict.fromkeys(before.studies["image_id"].to_pylist()[:10], "bad_box")
    assert [len(boxes) for boxes in scan.studies["boxes"].to_pylist() if boxes] == [2]


def test_the_older_label_file_with_its_trailing_comma(copy):
    before = check(ChestXray14(copy).scan())
    with open(copy / LABELS, newline="") as stream:
        header, *rows = csv.reader(stream)
    for row in rows:
        row[4] = f"0{row[4]}Y"
    lines = [",".join([*row, ""]) for row in [header, *rows]]
    (copy / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n")
    (copy / LABELS).unlink()
    assert check(ChestXray14(copy).scan()).studies.equals(before.studies)
    rewrite(copy / "Data_Entry_2017.csv", "\n".join([lines[0][:-1], *lines[1:]]) + "\n")  # the comma in the rows alone
    assert check(ChestXray14(copy).scan()).studies.equals(before.studies)


def test_one_folder_of_images_and_no_boxes(copy, images):
    (copy / "images").mkdir()
    for path in copy.glob("images_0*/images/*.png"):
        path.rename(copy / "images" / path.name)
    (copy / "BBox_List_2017.csv").unlink()
    scan = check(ChestXray14(copy).scan())
    assert len(scan.studies) == len(images)
    assert scan.studies["boxes"].null_count == len(images)
    assert all(path.startswith("images/") for path in scan.studies["image_path"].to_pylist())


def test_every_way_a_row_can_fail(copy):
    before = check(ChestXray14(copy).scan())
    first, second, third = before.studies["image_id"].to_pylist()[:3]
    line = (copy / LABELS).read_text().splitlines()[1]
    rest = line.split(",", 2)[2]
    nobody = "9,,60,M,PA,1,1,1,1"
    extra = [
        line,
        f"../../secret.png,Mass,{rest}",
        f",Mass,{rest}",
        f"99999999_000.png,Mass,{rest}",
        f"nobody.png,Mass,{nobody}",
        f"made_up.png,Mass|Measles,{rest}",
        f"made_up_too.png,,{rest}",
    ]
    lines = (copy / LABELS).read_text().splitlines()
    rewrite(copy / LABELS, "\n".join([*lines, *extra]) + "\n")
    listed = (copy / "train_val_list.txt").read_text().split()
    lost = next(name for name in listed if name != f"{first}.png")
    kept = [name for name in listed if name != lost]
    rewrite(copy / "train_val_list.txt", "\n".join([*kept, "99999999_000.png"]))
    scan = check(ChestXray14(copy).scan())
    assert scan.source_rows == before.source_rows + 7
    assert rejected(scan) == {
        f"{first}#2": "duplicate_id",
        "../../secret": "path_outside_root",
        "": "path_outside_root",
        "99999999_000": "missing_file",
        "nobody": "no_subject",
        "made_up": "unknown_label",
        "made_up_too": "unknown_label",
        lost.removesuffix(".png"): "no_split",
    }
    assert {second, third} - {lost.removesuffix(".png")} <= set(scan.studies["image_id"].to_pylist())


def test_what_is_missing_is_said(copy):
    for name in ("test_list.txt", LABELS):
        (copy / name).unlink()
        with pytest.raises(CohortError, match=rf"no {name[:10]}.*RADALIGN_CHESTXRAY14_ROOT.*nihcc"):
            ChestXray14(copy).scan()


def test_a_folder_of_images_that_is_a_link_out_of_the_archive(copy, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "images_001"
    (copy / "images_001").rename(elsewhere)
    (copy / "images_001").symlink_to(elsewhere)
    with pytest.raises(CohortError, match="images_001 is a link out of"):
        ChestXray14(copy).scan()


def test_real_rows(shared_data, tmp_path):
    """400 real images under their real names, labels and lists."""
    with open(shared_data / "nih_three_class" / "labels.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["licence_tier"] == "nih"]
    (tmp_path / "images").mkdir()
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID,View Position"]
    lists = {"train_val": [], "test": []}
    for row in rows:
        name = row["source_filename"]
        (tmp_path / "images" / name).symlink_to(shared_data / "nih_three_class" / row["file"])
        patient = int(row["patient_id"].removeprefix("nih-"))
        lines.append(f"{name},{row['nih_finding_labels']},{row['nih_follow_up']},{patient},{row['view']}")
        lists[row["nih_official_split"]].append(name)
    (tmp_path / LABELS).write_text("\n".join(lines))
    for kind, names in lists.items():
        (tmp_path / f"{kind}_list.txt").write_text("\n".join(names))
    scan = check(ChestXray14(tmp_path).scan())
    assert (len(scan.studies), len(scan.rejects)) == (400, 0)
    assert Counter(scan.studies["split"].to_pylist())["test"] == 50
    for row, source in zip(scan.studies.to_pylist(), rows, strict=True):
        labels = "|".join(name for name, value in row["labels"] if value)
        assert sorted(labels.split("|")) == sorted(source["nih_finding_labels"].split("|"))
