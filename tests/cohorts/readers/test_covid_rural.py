"""COVID Rural: masks of 0 and 1 beside images, patients before the first underscore, in each form it is copied in."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.covid_rural import FOLDER, image_name, opacity, patient_id, write
from cohorts.readers.covid_rural import CovidRural
from cohorts.tables import STUDIES
from ingestion.stages.images import decode_batch


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("covid_rural")
    write(root, simulated)
    return root


@pytest.fixture
def annotated(tmp_path):
    """Writes empty images and masks of the given names into a repository's folder."""

    def write_files(images: list[str], masks: list[str]) -> CovidRural:
        for folder, names in (("jpgs", images), ("pngs_masks", masks)):
            (tmp_path / folder).mkdir()
            for name in names:
                (tmp_path / folder / name).touch()
        return CovidRural(tmp_path)

    return write_files


def test_layout(layout, simulated):
    scan = CovidRural(layout).scan()
    truth = {image_name(study): study for study in simulated}
    assert scan.source_rows == len(truth) == len(scan.studies) + len(scan.rejects)
    assert scan.studies.schema.equals(STUDIES, check_metadata=True)
    assert set(scan.rejects["reason"].to_pylist()) == {"missing_mask"}
    assert not any(opacity(truth[name]).any() for name in scan.rejects["image_id"].to_pylist())
    splits = set()
    for row in scan.studies.to_pylist():
        study = truth[row["image_id"]]
        (mask,) = row["masks"]
        stored = cv2.imread(str(layout / mask["path"]), cv2.IMREAD_GRAYSCALE)
        assert (mask["label"], mask["threshold"]) == ("opacity", 0)
        assert (stored > mask["threshold"]).tolist() == opacity(study).tolist()
        assert row["subject_id"] == patient_id(study)
        splits.add((row["subject_id"], row["split"]))
    assert len(splits) == len({subject for subject, _ in splits})
    assert {split for _, split in splits} == {"train", "validate", "test"}


def test_masks_have_0_and_1_and_images_three_channels(layout):
    masks = list((layout / FOLDER / "pngs_masks").iterdir())
    assert {int(value) for path in masks for value in np.unique(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))} == {0, 1}
    image = next((layout / FOLDER / "jpgs").iterdir())
    assert cv2.imread(str(image), cv2.IMREAD_UNCHANGED).shape[2] == 3
    cohort = CovidRural(layout)
    images, rejects = decode_batch(cohort.root, cohort.scan().studies, 32)
    assert (len(images), len(rejects)) == (len(masks), 0)


@pytest.mark.parametrize("level", range(3))
def test_root_may_be_any_of_the_folders(layout, level):
    root = [layout, layout / FOLDER, (layout / FOLDER).parent][level]
    scan, whole = CovidRural(root).scan(), CovidRural(layout).scan()
    assert scan.studies.drop_columns(["image_path", "masks"]).equals(
        whole.studies.drop_columns(["image_path", "masks"])
    )
    assert all((root / path).is_file() for path in scan.studies["image_path"].to_pylist())


def test_spoilt_files_are_rejects(annotated):
    cohort = annotated(
        ["a_1.jpg", "a_2.JPG", "b.jpg", "c_1.jpg", "c_1.jpeg", "d e_1.jpg", "notes.txt"],
        ["a_1.png", "b.png", "c_1.png", "e_1.png", "d e_1.png"],
    )
    scan = cohort.scan()
    assert scan.source_rows == 7
    assert scan.studies["image_id"].to_pylist() == ["a_1", "c_1"]
    assert dict(zip(scan.rejects["image_id"].to_pylist(), scan.rejects["reason"].to_pylist(), strict=True)) == {
        "a_2": "missing_mask",
        "b": "no_subject",
        "c_1#2": "duplicate_id",
        "d e_1": "path_outside_root",
        "e_1": "missing_file",
    }


def test_names_that_are_no_utf_8(annotated):
    cohort = annotated([b"a_\xff.jpg".decode("utf-8", "surrogateescape")], [])
    assert cohort.scan().rejects["reason"].to_pylist() == ["path_outside_root"]


def test_what_is_missing_is_told(tmp_path, layout):
    with pytest.raises(CohortError, match=r"no covid_rural_annot/jpgs in .*RADALIGN_COVID_RURAL_ROOT.*haimingt"):
        CovidRural(tmp_path).scan()
    shutil.copytree(layout / FOLDER / "jpgs", tmp_path / "jpgs")
    assert set(CovidRural(tmp_path).scan().rejects["reason"].to_pylist()) == {"missing_mask"}
