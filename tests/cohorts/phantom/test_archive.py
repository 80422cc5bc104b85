"""The simulated archive: deterministic, extensible, readable by the MIMIC-CXR reader, true to its masks."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

from cohorts.phantom.archive import plan_studies, simulate
from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.readers.phantom import PhantomCohort
from imaging.decode import read_grey

CONFIG = PhantomConfig(studies=24, height=96)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    assert simulate(root, CONFIG) == {"studies": 24, "computed": 24}
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_writes_the_same_bytes(archive, tmp_path):
    simulate(tmp_path, CONFIG)
    assert digests(tmp_path) == digests(archive)


def test_another_seed_draws_another_archive():
    other = PhantomConfig(studies=24, height=96, seed=1)
    assert not {s.image_id for s in plan_studies(other)} & {s.image_id for s in plan_studies(CONFIG)}


def test_asking_for_more_studies_extends_the_archive(archive, tmp_path):
    simulate(tmp_path, PhantomConfig(studies=8, height=96))
    before = digests(tmp_path)
    assert simulate(tmp_path, CONFIG) == {"studies": 24, "computed": 16}
    after = digests(tmp_path)
    assert after == digests(archive)
    images = [name for name in before if name.endswith((".dcm", ".txt", ".png"))]
    assert {name: before[name] for name in images} == {name: after[name] for name in images}


def test_a_killed_simulation_goes_on(archive, tmp_path):
    simulate(tmp_path, CONFIG)
    (tmp_path / "phantom.json").unlink()
    lost = next((tmp_path / "truth" / "records").rglob("*.json"))
    lost.unlink()
    simulate(tmp_path, CONFIG)
    assert digests(tmp_path) == digests(archive)


def test_an_archive_of_other_settings_is_refused(archive):
    with pytest.raises(ValueError, match="other settings"):
        simulate(archive, PhantomConfig(studies=24, height=96, prevalence=0.5))


def test_images_are_valid_12_bit_dicom_of_both_photometric_interpretations(archive):
    images = [pydicom.dcmread(path) for path in archive.rglob("*.dcm")]
    assert len(images) == 24
    assert {image.PhotometricInterpretation for image in images} == {"MONOCHROME1", "MONOCHROME2"}
    for image in images:
        assert (image.BitsStored, image.HighBit) == (12, 11)
        assert image.pixel_array.max() < 4096
        assert image.pixel_array.shape == (image.Rows, image.Columns)


def test_both_photometric_interpretations_show_a_dark_lung_between_bright_tissue(archive):
    for path in archive.rglob("*.dcm"):
        grey = read_grey(path).astype(float)
        height, width = grey.shape
        lung = np.median(grey[int(0.3 * height) : int(0.45 * height), int(0.22 * width) : int(0.32 * width)])
        spine = np.median(grey[int(0.6 * height) : int(0.7 * height), int(0.48 * width) : int(0.52 * width)])
        assert lung < spine


def test_the_reader_finds_every_study_with_its_truth(archive):
    scan = PhantomCohort(archive).scan()
    assert scan.source_rows == scan.studies.num_rows == 24
    for study in scan.studies.to_pylist():
        labels = dict(study["labels"])
        assert set(labels) == set(FINDINGS)
        present = {name for name, value in labels.items() if value == 1}
        assert {mask["label"] for mask in study["masks"] or []} == present
        assert {box["label"] for box in study["boxes"] or []} == present
        assert "FINAL REPORT" in PhantomCohort(archive).read_report(study)


def test_boxes_enclose_their_masks_exactly(archive):
    for study in PhantomCohort(archive).scan().studies.to_pylist():
        boxes = {box["label"]: box for box in study["boxes"] or []}
        for item in study["masks"] or []:
            mask = cv2.imread(str(archive / item["path"]), cv2.IMREAD_GRAYSCALE) > 127
            left, top, width, height = (int(boxes[item["label"]][key]) for key in ("x", "y", "width", "height"))
            assert mask.sum() == mask[top : top + height, left : left + width].sum() > 0
            assert mask[:, left].any()
            assert mask[top + height - 1].any()


def test_no_patient_is_in_two_splits():
    splits: dict[str, set[str]] = {}
    for study in plan_studies(PhantomConfig(studies=2000)):
        splits.setdefault(study.subject_id, set()).add(study.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(splits) < 2000  # some patients have several studies
    assert {split for found in splits.values() for split in found} == {"train", "validate", "test"}
