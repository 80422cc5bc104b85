"""MURA: tables without a header, labels of studies, patients that keep their number in every region."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.mura import abnormal, study_folder, write
from cohorts.readers.mura import REGIONS, Mura
from cohorts.tables import STUDIES
from ingestion.stages.images import decode_batch


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("mura")
    write(root, simulated)
    return root


@pytest.fixture
def tables(tmp_path):
    """Writes the four tables, and an empty file for each of `files`."""

    def write_tables(
        train: str, labels: str, valid: str = "", valid_labels: str = "", files: tuple[str, ...] = ()
    ) -> Mura:
        for name, text in (
            ("train_image_paths", train),
            ("train_labeled_studies", labels),
            ("valid_image_paths", valid),
            ("valid_labeled_studies", valid_labels),
        ):
            (tmp_path / f"{name}.csv").write_text(text)
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
        return Mura(tmp_path)

    return write_tables


def test_layout(layout, simulated):
    scan = Mura(layout).scan()
    images = sum(1 + (study.lateral is not None) for study in simulated)
    assert (scan.source_rows, len(scan.studies), len(scan.rejects)) == (images, images, 0)
    assert scan.studies.schema.equals(STUDIES, check_metadata=True)
    truth = {study_folder(study): study for study in simulated}
    splits, regions = set(), {}
    for row in scan.studies.to_pylist():
        study = truth["/".join(Path(row["image_path"]).parts[2:5])]
        labels = dict(row["labels"])
        region = next(name for name in REGIONS if labels[name] == 1)
        assert labels["abnormal"] == float(abnormal(study))
        assert sum(labels[name] for name in REGIONS) == 1
        assert row["study_id"].startswith(f"{region}-patient{study.patient + 1:05d}-study")
        assert (row["split"] == "test") == (study.split != "train")
        splits.add((row["subject_id"], row["split"]))
        regions.setdefault(row["subject_id"], set()).add(region)
    assert max(map(len, regions.values())) > 1  # the same number in two regions is the same patient
    assert len(splits) == len(regions)
    assert {split for _, split in splits} == {"train", "validate", "test"}
    assert len(decode_batch(Mura(layout).root, scan.studies, 32)[0]) == images


def test_root_may_be_the_folder_itself_or_hold_it(layout):
    inner, outer = Mura(layout / "MURA-v1.1").scan(), Mura(layout).scan()
    assert inner.studies.drop_columns(["image_path"]).equals(outer.studies.drop_columns(["image_path"]))
    assert outer.studies["image_path"].to_pylist() == [
        f"MURA-v1.1/{path}" for path in inner.studies["image_path"].to_pylist()
    ]


def test_the_official_parts(layout, simulated):
    studies = Mura(layout, "official").scan().studies.to_pylist()
    assert {row["split"] for row in studies} == {"train", "validate"}
    assert {row["image_path"].split("/")[1]: row["split"] for row in studies} == {"train": "train", "valid": "validate"}


STUDY = "train/XR_HAND/patient00001/study1_positive"


def test_the_first_line_is_no_header_and_the_slash_is_no_part_of_the_study(tables):
    cohort = tables(f"MURA-v1.1/{STUDY}/image1.png\n", f"MURA-v1.1/{STUDY}/,1\n", files=(f"{STUDY}/image1.png",))
    (row,) = cohort.scan().studies.to_pylist()
    assert row["image_id"] == "HAND-patient00001-study1-image1"
    assert dict(row["labels"])["abnormal"] == 1


def test_spoilt_rows_are_rejects(tables):
    folder = "MURA-v1.1/train/XR_HAND"
    images = [
        f"{folder}/patient00001/study1_positive/image1.png",
        f"{folder}/patient00001/study1_positive/image1.png",
        f"{folder}/patient00001/study1_positive/image2.png",
        f"{folder}/patient00002/study1_positive/image1.png",
        f"{folder}/patient00003/study1_positive/image1.png",
        f"{folder}/patient00004/study1_negative/image1.png",
        "MURA-v1.1/train/XR_SKULL/patient00004/study1_negative/image1.png",
        "MURA-v1.1/../../../etc/passwd",
        "/etc/passwd",
    ]
    labels = [f"{Path(path).parent}/,{label}" for path, label in zip(images[2:6], "1101", strict=True)]
    labels[2] = labels[2].replace(",0", ",?")
    valid = "MURA-v1.1/valid/XR_WRIST/patient00002/study1_negative"
    cohort = tables(
        "\n".join(images),
        "\n".join(labels),
        f"{valid}/image1.png\n",
        f"{valid}/,0\n",
        files=tuple(path.removeprefix("MURA-v1.1/") for path in (images[0], f"{valid}/image1.png")),
    )
    scan = cohort.scan()
    assert scan.source_rows == 10
    assert scan.studies["image_id"].to_pylist() == [
        "HAND-patient00001-study1-image1",
        "WRIST-patient00002-study1-image1",
    ]
    assert scan.rejects["reason"].to_pylist() == [
        "duplicate_id",
        "missing_file",
        "patient_in_later_split",
        "no_label",
        "label_conflict",
        "malformed_path",
        "path_outside_root",
        "path_outside_root",
    ]


def test_what_is_missing_is_told(tmp_path, layout):
    with pytest.raises(CohortError, match=r"no train_image_paths\.csv in .*RADALIGN_MURA_ROOT.*stanfordmlgroup"):
        Mura(tmp_path).scan()
    shutil.copy(layout / "MURA-v1.1" / "train_image_paths.csv", tmp_path)
    with pytest.raises(CohortError, match=r"no train_labeled_studies\.csv"):
        Mura(tmp_path).scan()


def test_empty_tables(tables):
    assert tables("", "").scan().source_rows == 0
