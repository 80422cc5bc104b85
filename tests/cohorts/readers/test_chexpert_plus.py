"""CheXpert Plus: reports by their sections or whole, labels in lines of JSON, and the places of the images."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts import chexpert
from cohorts.phantom.layouts.chexpert_plus import TABLE, WHOLE_EVERY, study_folder, write
from cohorts.phantom.layouts.open_i import sections
from cohorts.phantom.simulated import SimulatedStudy, chexpert_labels
from cohorts.readers.chexpert import CheXpert
from cohorts.readers.chexpert_plus import CheXpertPlus, report_text
from ingestion.stages.reports import section_batch
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions
from tests.cohorts.scans import by_image, check, edit, rejected

LABELS = "chexbert_labels/impression_fixed.json"
ROW = dict.fromkeys(("report", "section_clinical_history", "section_history", "section_technique",
                     "section_comparison", "section_findings", "section_impression"), "")  # fmt: skip


@pytest.fixture(scope="module")
def studies(simulated) -> list[SimulatedStudy]:
    return simulated[:32]


@pytest.fixture(scope="module")
def layout(studies, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("chexpert_plus")
    write(root, studies)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    root = shutil.copytree(layout, tmp_path / "copy", copy_function=os.link)
    for name in (TABLE, LABELS):
        content = (root / name).read_text()
        (root / name).unlink()
        (root / name).write_text(content)
    return root


def change(root: Path, number: int, **values: str) -> None:
    """Other values in a row of the table, or a row of its own behind the last where `number` is -1."""
    with open(root / TABLE, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if number < 0:
        rows.append({**rows[0], **values})
    else:
        rows[number] |= values
    with open(root / TABLE, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_the_header_is_the_published_one(layout):
    names = (layout / TABLE).read_text().splitlines()[0].split(",")
    assert len(names) == 27
    assert names[:4] == ["path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa"]
    assert names[-9:-6] == ["age", "sex", "race"]


def test_labels_facts_splits_and_views(layout, studies):
    scan = check(CheXpertPlus(layout).scan())
    laterals = sum(study.lateral is not None for study in studies)
    assert Counter(rejected(scan).values()) == {"view_not_chosen": laterals}
    for row, study in zip(scan.studies.to_pylist(), studies, strict=True):
        labels = chexpert_labels(study.statements)
        assert dict(row["labels"]) == {name: value for name, value in labels.items() if value is not None}
        assert (row["view"], row["sex"], row["age"]) == (study.view, study.sex, study.age)
        assert row["image_path"] == f"PNG/{study_folder(study)}/view1_frontal.png"
        assert (row["split"] == "test") == (study.split == "test")
    official = check(CheXpertPlus(layout, "official", ("lateral",)).scan())
    assert set(official.studies["view"].to_pylist()) == {"LATERAL"}
    assert set(official.studies["split"].to_pylist()) <= {"train", "validate"}


def test_validation_is_carved_from_train_by_patient(layout, monkeypatch):
    monkeypatch.setattr("cohorts.readers.chexpert_plus.VALIDATION_SHARE", 0.4)
    shares = Counter(check(CheXpertPlus(layout).scan()).studies["split"].to_pylist())
    assert 0.15 < shares["validate"] / (shares["train"] + shares["validate"]) < 0.65


def test_reports(layout, studies):
    cohort = CheXpertPlus(layout)
    scan = cohort.scan()
    reports, rejects = section_batch(cohort, scan.studies, ReportOptions(required=()))
    assert (len(reports), len(rejects)) == (len(studies), 0)
    by_study = {row["study_id"]: row for row in reports.to_pylist()}
    for row, study in zip(scan.studies.to_pylist(), studies, strict=True):
        found = by_study[row["study_id"]]
        for name, text in sections(study).items():
            assert " ".join((found[name] or "").split()) == text
        whole = found["report"] == study.report.strip()
        assert whole == (study.index % WHOLE_EVERY == 0)
    with pytest.raises(ReportError, match="no report"):
        cohort.read_report({"study_id": "gone"})


def test_the_whole_report_where_no_section_is_read():
    assert report_text({**ROW, "report": "IMPRESSION: clear", "section_history": "Cough."}) == "IMPRESSION: clear"
    text = report_text({**ROW, "report": "all", "section_history": "Cough.", "section_impression": " Clear. "})
    assert text == "HISTORY: Cough.\n\nIMPRESSION: Clear."


def test_identifiers_are_those_of_chexpert(layout, studies, tmp_path):
    chexpert.write(tmp_path, studies)
    forms = [
        {tuple(part.rstrip("0123456789") for part in row["image_id"].split("-")) for row in scan.studies.to_pylist()}
        for scan in (CheXpert(tmp_path).scan(), CheXpertPlus(layout).scan())
    ]
    assert forms[0] == forms[1]


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("PNG/PNG", ".png"), ("CheXpert-v1.0-small", ".jpg"), ("DICOM", ".dcm")]
)
def test_the_places_of_images(copy, prefix, suffix):
    before = check(CheXpertPlus(copy).scan())
    for path in sorted((copy / "PNG").rglob("*.png")):
        target = (copy / "moved" / path.relative_to(copy / "PNG")).with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    shutil.rmtree(copy / "PNG")
    (copy / prefix).parent.mkdir(exist_ok=True)
    (copy / "moved").rename(copy / prefix)
    after = check(CheXpertPlus(copy).scan())
    assert after.studies.drop(["image_path"]).equals(before.studies.drop(["image_path"]))
    assert all(path.startswith(f"{prefix}/") for path in after.studies["image_path"].to_pylist())


def test_without_labels_and_facts(copy, studies):
    (copy / LABELS).unlink()
    edit(copy / TABLE, lambda lines: [lines[0].replace(",age,sex,", ",a,b,"), *lines[1:]])
    scan = check(CheXpertPlus(copy).scan())
    assert len(scan.studies) == len(studies)
    assert all(scan.studies[name].null_count == len(studies) for name in ("labels", "age", "sex"))


def test_every_way_a_row_can_fail(copy):
    before = check(CheXpertPlus(copy).scan())
    change(copy, 0, age="0", sex="Unknown")
    for path in ("../../x.jpg", "", "train/patient1/study1/view1_frontal.jpg", "train/patient00001/study1/../x.jpg"):
        change(copy, -1, path_to_image=path)
    change(copy, -1)
    change(copy, -1, path_to_image="train/patient2/study1/view1_frontal.jpg", split="test")
    change(copy, -1, path_to_image="train/patient3/study1/view1_frontal.jpg")
    bad = {"path_to_image": "train/patient3/study1/view1_frontal.jpg", "Edema": 3}
    edit(copy / LABELS, lambda lines: [*lines, json.dumps(bad)])
    scan = check(CheXpertPlus(copy).scan())
    first = before.studies["image_id"].to_pylist()[0]
    new = {image: reason for image, reason in rejected(scan).items() if image not in rejected(before)}
    assert new == {
        "../../x.jpg": "path_outside_root",
        "": "path_outside_root",
        "train/patient00001/study1/../x.jpg": "path_outside_root",
        "patient1-study1-view1_frontal": "missing_file",
        f"{first}#2": "duplicate_id",
        "patient2-study1-view1_frontal": "no_split",
        "patient3-study1-view1_frontal": "bad_label",
    }
    assert by_image(scan)[first]["age"] is by_image(scan)[first]["sex"] is None


@pytest.mark.parametrize("line", ["{", "[1]", "[" * 100_000, "null"])
def test_labels_that_are_no_objects_are_said(copy, line):
    edit(copy / LABELS, lambda lines: [lines[0], "", line])
    with pytest.raises(CohortError, match="no JSON object in line 3"):
        CheXpertPlus(copy).scan()


def test_what_is_missing_is_said(copy):
    (copy / TABLE).unlink()
    with pytest.raises(CohortError, match=r"no df_chexpert_plus.*RADALIGN_CHEXPERT_PLUS_ROOT.*Stanford"):
        CheXpertPlus(copy).scan()
