"""SIIM-ACR Pneumothorax: the blank in the header, gaps for starts, columns for rows, several rows of one image."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.phantom.dicom.jpeg import uids
from cohorts.phantom.layouts.siim_pneumothorax import FINDING, write
from cohorts.readers.siim_pneumothorax import SIZE, SiimPneumothorax, absolute_runs, bounding_boxes, decode_regions
from imaging.shapes import bounding_box, shape_mask
from ingestion.stages.images import decode_batch
from tests.cohorts.scans import by_image, check, edit, rejected

REAL_UID = "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819"


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("siim")
    write(root, simulated)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    root = tmp_path / "copy"
    shutil.copytree(layout, root, copy_function=os.link)
    (root / "train-rle.csv").unlink()
    shutil.copy(layout / "train-rle.csv", root)
    return root


def reference_mask(text: str) -> np.ndarray:
    """The decoder that the field settled on, literally."""
    flat = np.zeros(SIZE * SIZE, np.uint8)
    numbers = [int(number) for number in text.split()]
    position = 0
    for gap, run in zip(numbers[0::2], numbers[1::2], strict=True):
        position += gap
        flat[position : position + run] = 255
        position += run
    return flat.reshape(SIZE, SIZE).T


def test_masks_are_what_was_drawn(layout, simulated):
    scan = check(SiimPneumothorax(layout).scan())
    assert scan.source_rows == len(simulated)
    rows = by_image(scan)
    several = 0
    for study in simulated:
        image_id = uids(study)[2]
        if study.split == "test":
            assert rejected(scan)[image_id] == "no_labels"
            continue
        row = rows[image_id]
        mask = study.resized(SIZE, SIZE).masks.get(FINDING)
        assert row["labels"] == {"Pneumothorax": float(mask is not None)}
        joined = np.zeros((SIZE, SIZE), bool)
        for shape, box in zip(row["shapes"], row["boxes"], strict=True):
            part = shape_mask(shape["kind"], shape["points"], SIZE, SIZE) > 0
            assert bounding_box(part) == tuple(box[side] for side in ("x", "y", "width", "height"))
            joined |= part
        several += len(row["shapes"]) > 1
        np.testing.assert_array_equal(joined, np.zeros_like(joined) if mask is None else mask)
    assert several > 0


def test_the_label_file_looks_like_the_original(layout):
    lines = (layout / "train-rle.csv").read_text().splitlines()
    assert lines[0] == "ImageId, EncodedPixels"
    assert any(line.endswith(", -1") for line in lines)
    paths = list((layout / "dicom-images-train").glob("*/*/*.dcm"))
    assert {path.stem for path in paths} == {line.split(",")[0] for line in lines[1:]}


def test_without_blanks_and_in_stage_2(copy):
    before = check(SiimPneumothorax(copy).scan())
    edit(copy / "train-rle.csv", lambda lines: [line.replace(", ", ",") for line in lines])
    assert check(SiimPneumothorax(copy).scan()).studies.equals(before.studies)
    (copy / "stage_2_images").mkdir()
    for path in copy.glob("dicom-images-*/*/*/*.dcm"):
        path.rename(copy / "stage_2_images" / path.name)
    (copy / "train-rle.csv").rename(copy / "stage_2_train.csv")
    after = check(SiimPneumothorax(copy).scan())
    assert after.studies.drop_columns("image_path").equals(before.studies.drop_columns("image_path"))
    assert all(path.startswith("stage_2_images/") for path in after.studies["image_path"].to_pylist())


def test_an_image_is_in_one_split_with_all_its_rows(layout):
    one, other = (by_image(check(SiimPneumothorax(layout, split).scan())) for split in SiimPneumothorax.splits)
    assert any(one[image]["split"] != other[image]["split"] for image in one)


def test_every_way_an_image_can_fail(copy):
    before = check(SiimPneumothorax(copy).scan())
    extra = [
        "1.2.3, -1",
        "../../etc/passwd, -1",
        ", -1",
        "odd, 5 6 7",
        "empty,",
        "beyond, 1048570 7",
        "words, ten 3",
        "minus, -5 6",
        "nothing, 5 0",
        "huge, " + "9" * 400 + " 1",
        *["many, 5 6"] * 501,
    ]
    known = before.studies["image_id"].to_pylist()[0]
    edit(copy / "train-rle.csv", lambda lines: [*lines, *extra, f"{known}, 1 2 x"])
    scan = check(SiimPneumothorax(copy).scan())
    assert scan.source_rows == before.source_rows + 11
    bad = dict.fromkeys(["odd", "empty", "beyond", "words", "minus", "nothing", "huge", "many", known], "bad_mask")
    assert {image: reason for image, reason in rejected(scan).items() if image not in rejected(before)} == {
        **bad,
        "1.2.3": "missing_file",
        "../../etc/passwd": "path_outside_root",
        "": "path_outside_root",
    }


def test_what_is_missing_is_said(copy):
    (copy / "train-rle.csv").write_text("ImageId\n1\n")
    with pytest.raises(CohortError, match=r"train-rle\.csv has no column EncodedPixels"):
        SiimPneumothorax(copy).scan()
    (copy / "train-rle.csv").unlink()
    with pytest.raises(CohortError, match=r"no train-rle\.csv or stage_2_train\.csv.*RADALIGN_SIIM_PNEUMOTHORAX_ROOT"):
        SiimPneumothorax(copy).scan()


PAIRS = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3000)), min_size=1, max_size=40)


@settings(max_examples=20)
@given(PAIRS)
def test_runs_and_boxes_equal_the_reference_decoder(pairs):
    text = " ".join(f"{gap} {run}" for gap, run in pairs)
    expected = reference_mask(text)
    np.testing.assert_array_equal(shape_mask("rle", absolute_runs(text), SIZE, SIZE), expected)
    regions = decode_regions(pd.DataFrame({"image_id": ["a"], "pixels": [text]}))
    box = bounding_boxes(regions).iloc[0]
    assert tuple(box[["x", "y", "width", "height"]]) == bounding_box(expected)


def test_simulated_headers_are_those_of_the_real_image(shared_data, layout):
    real = pydicom.dcmread(shared_data / "dicom_samples/real/cxr_siim_jpeg_baseline_8bit_mono2.dcm")
    ours = pydicom.dcmread(next(layout.glob("dicom-images-train/*/*/*.dcm")))
    assert [element.keyword for element in ours] == [element.keyword for element in real]
    assert [element.keyword for element in ours.file_meta] == [element.keyword for element in real.file_meta]
    told = "SOPInstanceUID StudyInstanceUID SeriesInstanceUID PatientID PatientName PatientSex PatientAge ViewPosition"
    for element in real:
        if element.keyword not in (*told.split(), "SeriesDescription", "PixelData"):
            assert ours[element.tag].value == element.value, element.keyword
    assert ours.file_meta.TransferSyntaxUID == real.file_meta.TransferSyntaxUID
    assert ours.SOPInstanceUID.split(".")[:8] == real.SOPInstanceUID.split(".")[:8]
    assert ours.StudyInstanceUID.split(".")[:9] == real.StudyInstanceUID.split(".")[:9]


def test_the_real_image_and_real_beginnings_of_a_mask(shared_data, tmp_path):
    folder = tmp_path / "dicom-images-train" / "study" / "series"
    folder.mkdir(parents=True)
    shutil.copy(shared_data / "dicom_samples/real/cxr_siim_jpeg_baseline_8bit_mono2.dcm", folder / f"{REAL_UID}.dcm")
    real = "557374 2 1015 8 1009 14 1002 20 997 26"  # of 1.2.276.0.7230010.3.1.4.8323329.13666.1517875247.117800
    (tmp_path / "train-rle.csv").write_text(f"ImageId, EncodedPixels\n{REAL_UID},-1\nother, {real}\n")
    cohort = SiimPneumothorax(tmp_path)
    scan = check(cohort.scan())
    assert by_image(scan)[REAL_UID]["labels"] == {"Pneumothorax": 0.0}
    assert rejected(scan) == {"other": "missing_file"}
    assert len(decode_batch(cohort.root, scan.studies, 64)[0]) == 1
    rows, columns = np.nonzero(reference_mask(real))
    assert set(columns) == {544, 545, 546, 547, 548}  # neighbouring columns of one outline, not rows
    assert rows.max() - rows.min() <= 30
