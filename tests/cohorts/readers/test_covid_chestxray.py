"""The COVID-19 image data collection: the real part of it, and its upstream form."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.covid_chestxray import finding, note, write
from cohorts.readers.covid_chestxray import CovidChestXray
from cohorts.tables import STUDIES
from imaging.decode import read_grey
from ingestion.stages.images import decode_batch
from ingestion.stages.reports import section_batch
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions

UPSTREAM = (
    "patientid,offset,sex,age,finding,RT_PCR_positive,survival,view,modality,date,location,folder,filename,doi,url,"
    "license,clinical_notes,other_notes,"
)


@pytest.fixture
def upstream(tmp_path):
    def write(*rows: dict[str, str]) -> CovidChestXray:
        (tmp_path / "images").mkdir(exist_ok=True)
        defaults = {"finding": "COVID-19", "view": "PA", "modality": "X-ray", "folder": "images", "patientid": "1"}
        with open(tmp_path / "metadata.csv", "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, UPSTREAM.split(","))
            writer.writeheader()
            for row in rows:
                writer.writerow({**defaults, **row})
        return CovidChestXray(tmp_path)

    return write


def touch(cohort: CovidChestXray, *names: str) -> CovidChestXray:
    for name in names:
        (cohort.root / "images" / name).touch()
    return cohort


def test_every_row_of_the_real_part_is_a_study_or_a_reject(shared_data):
    root = shared_data / "covid_cxr"
    with open(root / "metadata.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cohort = CovidChestXray(root)
    scan = cohort.scan()
    assert scan.source_rows == len(rows) == 172
    assert (len(scan.studies), len(scan.rejects)) == (172, 0)
    assert scan.studies.schema == STUDIES
    assert scan.studies["image_path"].to_pylist() == [row["file"] for row in rows]
    assert scan.studies["subject_id"].to_pylist() == [row["group_id"] for row in rows]
    assert Counter(scan.studies["view"].to_pylist()) == {"PA": 108, "AP Supine": 48, "AP": 16}
    splits = defaultdict(set)
    for row in scan.studies.to_pylist():
        splits[row["subject_id"]].add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    assert {name for names in splits.values() for name in names} == {"train", "validate", "test"}


def test_real_images_and_notes_go_through(shared_data):
    cohort = CovidChestXray(shared_data / "covid_cxr")
    studies = cohort.scan().studies
    images, rejects = decode_batch(cohort.root, studies, 64)
    assert (len(images), len(rejects)) == (172, 0)
    assert images["image_id"].to_pylist() == studies["image_id"].to_pylist()
    first = read_grey(cohort.root / studies["image_path"][0].as_py())
    assert (images["height"][0].as_py(), images["width"][0].as_py()) == first.shape
    reports, rejects = section_batch(cohort, studies, ReportOptions())
    assert len(reports) + len(rejects) == 172
    assert rejects["reason"].to_pylist().count("empty_report") == 92
    assert set(rejects["source_path"].to_pylist()) < set(studies["image_path"].to_pylist())


def test_upstream_form_and_its_rejects(upstream):
    cohort = upstream(
        {"filename": "a.jpg", "patientid": "7", "clinical_notes": " Opacities. "},
        {"filename": "ct.nii.gz", "modality": "CT", "view": "Axial", "folder": "volumes"},
        {"filename": "side.jpg", "view": "L"},
        {"filename": "erect.png", "view": "AP Erect"},
        {"filename": "gone.jpg"},
        {"filename": "../../etc/passwd"},
        {"filename": "passwd", "folder": "/etc"},
        {"filename": ""},
        {"filename": "a.jpg"},
        {"filename": "nobody.jpg", "patientid": ""},
        {"filename": "a.png"},
    )
    touch(cohort, "a.jpg", "a.png", "side.jpg", "erect.png", "nobody.jpg")
    scan = cohort.scan()
    assert scan.source_rows == 11
    assert scan.studies["image_id"].to_pylist() == ["a.jpg", "erect", "a.png"]
    assert scan.studies["image_path"].to_pylist() == ["images/a.jpg", "images/erect.png", "images/a.png"]
    assert scan.rejects["reason"].to_pylist() == [
        "not_a_radiograph",
        "view_not_chosen",
        "missing_file",
        "path_outside_root",
        "path_outside_root",
        "missing_file",
        "duplicate_id",
        "no_subject",
    ]
    ids = scan.studies["image_id"].to_pylist() + scan.rejects["image_id"].to_pylist()
    assert len(set(ids)) == 11
    first = scan.studies.to_pylist()[0]
    assert cohort.read_report(first) == "Opacities."
    with pytest.raises(ReportError) as caught:
        cohort.read_report(scan.studies.to_pylist()[1])
    assert caught.value.reason == "empty_report"


def test_link_out_of_the_archive(upstream, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "image.jpg"
    secret.touch()
    cohort = upstream({"filename": "link.jpg"})
    (cohort.root / "images" / "link.jpg").symlink_to(secret)
    assert cohort.scan().rejects["reason"].to_pylist() == ["path_outside_root"]


def test_layout(simulated, tmp_path):
    write(tmp_path, simulated)
    cohort = CovidChestXray(tmp_path)
    scan = cohort.scan()
    laterals = sum(study.lateral is not None for study in simulated)
    assert (scan.source_rows, len(scan.studies)) == (80 + laterals, 80)
    assert scan.rejects["reason"].to_pylist() == ["view_not_chosen"] * laterals
    for row, study in zip(scan.studies.to_pylist(), simulated, strict=True):
        assert row["subject_id"] == str(study.patient + 1)
        assert row["view"] == (study.view if study.index % 4 else "AP Supine")
        assert {name for name, value in row["labels"] if value == 1} == set(finding(study).split("/"))
    notes = [note(study.report) for study in simulated]
    reports, rejects = section_batch(cohort, scan.studies, ReportOptions())
    assert (len(reports), len(rejects)) == (sum(map(bool, notes)), notes.count(""))
    assert len(decode_batch(cohort.root, scan.studies, 32)[0]) == 80


def test_labels_say_what_the_finding_says_and_no_more(upstream):
    findings = ["COVID-19, ARDS", "Pneumonia/Viral/COVID-19", "No Finding", "todo"]
    cohort = upstream(*({"filename": f"{i}.jpg", "finding": finding} for i, finding in enumerate(findings)))
    labels = [dict(row) for row in touch(cohort, *(f"{i}.jpg" for i in range(4))).scan().studies["labels"].to_pylist()]
    assert labels == [
        {"ARDS": 1, "COVID-19": 1, "No Finding": 0},
        {"COVID-19": 1, "No Finding": 0, "Pneumonia": 1, "Viral": 1},
        {"ARDS": 0, "COVID-19": 0, "No Finding": 1, "Pneumonia": 0, "Viral": 0},
        {},
    ]


def test_a_table_with_a_finding_of_its_own_in_every_row_is_refused(upstream):
    """Every row says of every finding whether it is there."""
    cohort = upstream(*({"filename": f"{number}.jpg", "finding": f"f{number}"} for number in range(600)))
    with pytest.raises(CohortError, match=r"metadata\.csv in .* has 601 different findings; is it"):
        cohort.scan()


def test_what_is_missing_is_named(tmp_path: Path):
    with pytest.raises(CohortError, match=r"no metadata\.csv in .*RADALIGN_COVID_CHESTXRAY_ROOT"):
        CovidChestXray(tmp_path).scan()
    (tmp_path / "metadata.csv").write_text("patientid,finding\n1,COVID-19\n")
    with pytest.raises(CohortError, match="no column view, clinical_notes;"):
        CovidChestXray(tmp_path).scan()
    (tmp_path / "metadata.csv").write_text("patientid,finding,view,clinical_notes\n1,COVID-19,PA,\n")
    with pytest.raises(CohortError, match="no column filename"):
        CovidChestXray(tmp_path).scan()
