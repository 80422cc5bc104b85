"""COVIDx: lines read from the right, two or three classes, images in any case and extension, patients in one split."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.phantom.layouts.covidx import class_of, names, write
from cohorts.readers.covidx import Covidx, parse_line
from cohorts.splits import split_by_patient
from cohorts.tables import REJECTS, STUDIES
from ingestion.stages.images import decode_batch

WORD = st.text("aC-(.7)", min_size=1, max_size=6)


@pytest.fixture(scope="module")
def layout(simulated, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("covidx")
    write(root, simulated)
    return root


@pytest.fixture
def release(tmp_path):
    """Writes label files of the release, and the images that are named."""

    def write_release(train: str, test: str = "", val: str | None = None, images: tuple[str, ...] = ()) -> Covidx:
        for part, text in (("train", train), ("test", test), ("val", val)):
            if text is not None:
                (tmp_path / f"{part}.txt").write_bytes(text.encode())
                (tmp_path / part).mkdir(exist_ok=True)
        for image in images:
            (tmp_path / image).touch()
        return Covidx(tmp_path)

    return write_release


def rejected(cohort: Covidx) -> dict[str, str]:
    rejects = cohort.scan().rejects
    return dict(zip(rejects["image_id"].to_pylist(), rejects["reason"].to_pylist(), strict=True))


@pytest.mark.parametrize("family", [name for name in Covidx.splits if name != "70/20/10"])
def test_layout(layout, simulated, family):
    if family.startswith("COVIDx8"):
        with pytest.raises(CohortError, match=rf"no test_{family}\.txt in .*RADALIGN_COVIDX_ROOT.*kaggle"):
            Covidx(layout, family).scan()
        return
    scan = Covidx(layout, family).scan()
    assert (scan.source_rows, len(scan.studies), len(scan.rejects)) == (80, 80, 0)
    assert scan.studies.schema.equals(STUDIES, check_metadata=True)
    assert scan.rejects.schema.equals(REJECTS, check_metadata=True)
    truth = {names(study)[1]: study for study in simulated}
    three = family.endswith("A")
    for row in scan.studies.to_pylist():
        study = truth[row["image_id"]]
        name = class_of(study)
        assert row["subject_id"] == names(study)[0]
        assert (row["split"] == "test") == (study.split == "test")
        expected = {label: float(label == name) for label in (("COVID-19", "pneumonia", "normal") if three else ())}
        assert dict(row["labels"]) == (expected or {"COVID-19": float(name == "COVID-19")})
        assert row["report_path"] is None
    splits = {(row["subject_id"], row["split"]) for row in scan.studies.to_pylist()}
    assert len(splits) == len({subject for subject, _ in splits})
    assert {split for _, split in splits} == {"train", "validate", "test"}


def test_medklips_split_divides_the_training_list_of_9b_by_patient(layout, simulated):
    scan = Covidx(layout, "70/20/10").scan()
    rows = scan.studies.to_pylist()
    listed = {names(study)[1] for study in simulated if study.split != "test"}
    assert {row["image_id"] for row in rows} == listed
    assert (scan.source_rows, len(scan.rejects)) == (len(listed), 0)
    assert {dict(row["labels"])["COVID-19"] for row in rows} == {0.0, 1.0}
    assert all(set(dict(row["labels"])) == {"COVID-19"} for row in rows)
    of_patient = {row["subject_id"]: row["split"] for row in rows}
    assert all(of_patient[row["subject_id"]] == row["split"] for row in rows)
    patients = pd.Series(sorted(of_patient))
    assert split_by_patient("covidx", "70/20/10", patients).tolist() == [of_patient[name] for name in patients]


def test_medklips_split_has_seven_two_and_one_tenths_of_the_patients(release):
    lines = "".join(f"{number} {number}.png {('positive', 'negative')[number % 2]} rsna\n" for number in range(600))
    cohort = release("", images=tuple(f"train/{number}.png" for number in range(600)))
    (cohort.root / "labels").mkdir()
    (cohort.root / "labels" / "train_COVIDx9B.txt").write_text(lines)
    counts = Counter(Covidx(cohort.root, "70/20/10").scan().studies["split"].to_pylist())
    assert [counts[split] / 600 for split in ("train", "validate", "test")] == pytest.approx([0.7, 0.2, 0.1], abs=0.05)


def test_images_of_the_layout_can_be_decoded(layout):
    """.png, .jpg, .jpeg and .JPG, and names with blanks."""
    cohort = Covidx(layout)
    studies = cohort.scan().studies
    endings = Counter(Path(path).suffix for path in studies["image_path"].to_pylist())
    assert {".png", ".jpeg", ".JPG"} <= set(endings)
    assert any(" " in path for path in studies["image_path"].to_pylist())
    images, rejects = decode_batch(cohort.root, studies, 32)
    assert (len(images), len(rejects)) == (80, 0)


def test_blanks_in_patients_and_file_names(release):
    """`COVID 7 COVID(7).png` is of versions 7 to 9; a file name with a blank is found by looking for it."""
    cohort = release(
        "COVID 7 COVID(7).png positive sirm\r\n\n"
        "COVID 8 COVID (8).png positive sirm\r\n"
        "379  1e64_jumbo.jpeg negative cohen\n"
        "COVID 9 gone (9).png negative sirm",
        images=("train/COVID(7).png", "train/COVID (8).png", "train/1e64_jumbo.jpeg"),
    )
    rows = {row["image_id"]: row["subject_id"] for row in cohort.scan().studies.to_pylist()}
    assert rows == {"COVID(7).png": "COVID 7", "COVID (8).png": "COVID 8", "1e64_jumbo.jpeg": "379"}
    assert rejected(cohort) == {"(9).png": "missing_file"}


@given(st.lists(WORD, min_size=1, max_size=3), st.lists(WORD, min_size=1, max_size=3))
def test_a_line_is_divided_where_the_images_say(patient, name):
    line = " ".join([*patient, *name, "Positive", "sirm"])
    whole = " ".join(name)
    assert parse_line(line, {whole.casefold()}) == (" ".join(patient), whole, "positive", "sirm")
    assert parse_line(line, set()) == (" ".join([*patient, *name[:-1]]), name[-1], "positive", "sirm")


def test_a_line_of_any_length_is_divided_soon():
    words = ["w"] * 1_000_000
    began = time.process_time()
    assert parse_line(" ".join([*words, "a.png", "positive", "rsna"]), {"b.png"})[1:3] == ("a.png", "positive")
    assert time.process_time() - began < 5


def test_the_case_of_names_and_classes_may_differ(release):
    cohort = release("1 A.PNG Positive rsna\n2 b.jpg NEGATIVE rsna", images=("train/a.png", "train/b.JPG"))
    rows = cohort.scan().studies.to_pylist()
    assert [row["image_path"] for row in rows] == ["train/a.png", "train/b.JPG"]
    assert [dict(row["labels"]) for row in rows] == [{"COVID-19": 1}, {"COVID-19": 0}]


def test_a_validation_file_is_the_validation_set(release):
    images = ("train/a.png", "val/b.png", "test/c.png")
    cohort = release("1 a.png positive x", "3 c.png positive x", "2 b.png negative x", images)
    assert {row["image_id"]: row["split"] for row in cohort.scan().studies.to_pylist()} == {
        "a.png": "train",
        "b.png": "validate",
        "c.png": "test",
    }


def test_every_spoilt_line_is_a_reject(release):
    images = ("train/a.png", "train/b.png", "train/dup.png", "test/t.png", "test/dup.png", "train/d.png")
    cohort = release(
        "1 a.png positive rsna\n1 a.png positive rsna\n2 gone.png positive rsna\n3 ../../passwd positive rsna\n"
        "4 d.png perhaps rsna\nb.png positive rsna\nline\n9 b.png negative rsna\n8 dup.png positive rsna\n",
        "9 t.png positive rsna\n7 dup.png positive rsna\n",
        images=images,
    )
    scan = cohort.scan()
    assert scan.source_rows == 11
    assert sorted(scan.studies["image_id"].to_pylist()) == ["a.png", "dup.png", "t.png"]
    assert rejected(cohort) == {
        "a.png#2": "duplicate_id",
        "dup.png#2": "duplicate_id",
        "gone.png": "missing_file",
        "../../passwd": "path_outside_root",
        "d.png": "unknown_class",
        "": "malformed_row",
        "#2": "malformed_row",
        "b.png": "patient_in_later_split",
    }
    assert {row["split"] for row in scan.studies.to_pylist() if row["image_id"] == "dup.png"} == {"test"}


def test_what_is_missing_and_what_is_unknown_is_told(tmp_path):
    with pytest.raises(CohortError, match=r"no test\.txt in .*: to use RADALIGN_COVIDX_ROOT, .*kaggle\.com"):
        Covidx(tmp_path).scan()
    with pytest.raises(CohortError, match=r"no split 'COVIDx5'; choose release or COVIDx8A"):
        Covidx(tmp_path, "COVIDx5")


def test_empty_and_foreign_files(release):
    assert release("").scan().source_rows == 0
    assert set(rejected(release("\xff\x01\n", "a,b,c\n")).values()) == {"malformed_row"}
    with pytest.raises(CohortError, match=r"train\.txt has bytes that are no text in line 2"):
        release("1 a.png positive x\nbc\x00d\n").scan()


def test_names_that_differ_in_case_alone_are_different_images(release):
    cohort = release(
        "1 a.PNG positive x\n2 A.png negative x\n3 A.PNG positive x", images=("train/a.PNG", "train/A.png")
    )
    rows = {row["image_path"]: dict(row["labels"]) for row in cohort.scan().studies.to_pylist()}
    assert rows == {"train/a.PNG": {"COVID-19": 1}, "train/A.png": {"COVID-19": 0}}
    assert rejected(cohort) == {"A.PNG": "missing_file"}


def test_lines_that_name_one_file_in_two_cases_are_one_image(release):
    cohort = release("1 a.png positive x\n2 A.PNG positive x", images=("train/a.png",))
    assert rejected(cohort) == {"A.PNG": "duplicate_id"}
