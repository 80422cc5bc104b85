"""Open-i in both editions: reports as XML or as rows, images as PNG or DICOM, hostile XML, and real rows."""

from __future__ import annotations

import csv
import shutil
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.phantom.layouts import open_i_dicom, open_i_kaggle
from cohorts.phantom.layouts.open_i import images_of, mesh, sections, write
from cohorts.readers.open_i import OpenI, mesh_labels, parse_xml, plain_name, report_text
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions, parse_report
from tests.cohorts.scans import by_image, check, rejected

EVERYTHING = ReportOptions(required=())


@pytest.fixture(scope="module")
def editions(simulated, tmp_path_factory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in ("png", "dicom", "kaggle")}
    write(roots["png"], simulated)
    open_i_dicom.write(roots["dicom"], simulated)
    open_i_kaggle.write(roots["kaggle"], simulated)
    return roots


def xml(number: int, *images: str, terms: str = "normal", findings: str = "Clear lungs.") -> str:
    parents = "".join(f'<parentImage id="{image}"/>' for image in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="CXR{number}"/><MedlineCitation><Article><Abstract>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText><AbstractText Label="IMPRESSION"/>'
        f"</Abstract></Article></MedlineCitation><MeSH><major>{terms}</major><automatic>wrong</automatic></MeSH>"
        f"{parents}</eCitation>"
    )


@pytest.fixture
def archive(tmp_path):
    """Writes reports by file name and empty images by name."""

    def make(reports: dict[str, str | bytes], *names: str) -> OpenI:
        for folder in ("ecgen-radiology", "NLMCXR_png"):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name, text in reports.items():
            (tmp_path / "ecgen-radiology" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        for name in names:
            (tmp_path / "NLMCXR_png" / name).touch()
        return OpenI(tmp_path)

    return make


def test_every_image_of_the_xml_is_a_study_under_its_report(editions, simulated):
    for edition, suffix in (("png", ".png"), ("dicom", ".dcm")):
        cohort = OpenI(editions[edition])
        scan = check(cohort.scan())
        rows = by_image(scan)
        assert set(rows) == {name for study in simulated for name, _, _ in images_of(study)}
        without = {f"CXR{study.index + 1}" for study in simulated if not list(images_of(study))}
        assert rejected(scan) == dict.fromkeys(without, "no_image")
        for study in simulated:
            codes = {" ".join(term.split()): 1.0 for term in mesh(study)}
            for name, _, _ in images_of(study):
                row = rows[name]
                assert row["study_id"] == row["subject_id"] == f"CXR{study.index + 1}"
                assert row["labels"] == ({} if "No Indexing" in codes else codes)
                assert row["image_path"].endswith(suffix)
                assert row["report_path"] == f"ecgen-radiology/{study.index + 1}.xml"
                assert row["view"] == ""


def test_the_tables_tell_frontal_from_lateral(editions, simulated):
    scan = check(OpenI(editions["kaggle"]).scan())
    shown = [(name, projection) for study in simulated for name, projection, _ in images_of(study)]
    assert scan.studies["image_id"].to_pylist() == [name for name, projection in shown if projection == "Frontal"]
    assert set(scan.studies["view"].to_pylist()) == {"FRONTAL"}
    assert rejected(scan) == {name: "view_not_chosen" for name, projection in shown if projection == "Lateral"}


def test_editions_agree_on_identifiers_splits_labels_and_reports(editions):
    cohorts = {name: OpenI(root) for name, root in editions.items()}
    rows = {name: by_image(cohort.scan()) for name, cohort in cohorts.items()}
    for image, row in rows["kaggle"].items():
        for name in ("png", "dicom"):
            other = rows[name][image]
            assert [row[key] for key in ("subject_id", "study_id", "split", "labels")] == [
                other[key] for key in ("subject_id", "study_id", "split", "labels")
            ]
            assert cohorts["kaggle"].read_report(row) == cohorts[name].read_report(other)


def test_reports_come_apart_into_the_sections_they_were_put_together_of(editions, simulated):
    cohort = OpenI(editions["kaggle"])
    rows = by_image(cohort.scan())
    for study in simulated[:20]:
        name = next(images_of(study))[0]
        parsed = parse_report(cohort.read_report(rows[name]), "sectioned", EVERYTHING)
        for section, text in sections(study).items():
            assert " ".join((getattr(parsed, section) or "").split()) == text


def test_projections_beside_the_xml_are_used(editions, tmp_path):
    root = shutil.copytree(editions["png"], tmp_path / "copy")
    shutil.copy(editions["kaggle"] / "indiana_projections.csv", root)
    ours, tables = by_image(check(OpenI(root).scan())), by_image(OpenI(editions["kaggle"]).scan())
    assert {image: row["view"] for image, row in ours.items()} == {image: row["view"] for image, row in tables.items()}


def test_one_kind_of_file(archive):
    cohort = archive(
        {"1.xml": xml(1, "CXR1_1_IM-0001-1001", "CXR1_1_IM-0001-2001"), "2.xml": xml(2, "CXR2_IM-0002-1001")},
        "CXR1_1_IM-0001-1001.png",
        "1_IM-0001-1001.dcm",
        "1_IM-0001-2001.dcm",
        "2_IM-0002-1001.dcm",
        "._2_IM-0002-1001.png",
    )
    paths = check(cohort.scan()).studies["image_path"].to_pylist()
    assert [Path(path).suffix for path in paths] == [".dcm"] * 3


def test_every_way_a_report_or_an_image_can_fail(archive):
    cohort = archive(
        {
            "1.xml": xml(1, "CXR1_1_IM-0001-1001"),
            "2.xml": xml(2),
            "3.xml": xml(3, "CXR3_IM-0003-1001"),
            "4.xml": xml(4, "../../etc/passwd"),
            "5.xml": xml(5, "CXR1_1_IM-0001-1001"),
            "6.xml": "<eCitation><uId",
            "7.xml": "",
            "10.xml": xml(10, "CXR10_IM-0010-1001"),
        },
        "CXR1_1_IM-0001-1001.png",
        "CXR10_IM-0010-1001.png",
    )
    scan = check(cohort.scan())
    assert scan.source_rows == 8
    assert scan.studies["image_id"].to_pylist() == ["1_IM-0001-1001", "10_IM-0010-1001"]
    assert rejected(scan) == {
        "CXR2": "no_image",
        "3_IM-0003-1001": "missing_file",
        "../../etc/passwd": "path_outside_root",
        "1_IM-0001-1001#2": "duplicate_id",
        "6": "unreadable_report",
        "7": "unreadable_report",
    }
    assert all("Clear" not in detail for detail in scan.rejects["detail"].to_pylist())


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><eCitation><uId id="&b;"/></eCitation>'


@pytest.mark.parametrize(
    "content",
    [
        BOMB,
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><eCitation/>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><eCitation>&a;</eCitation>',
        BOMB.encode("utf-16"),
        "\ufeff" + BOMB,
        "<a>&undefined;</a>",
        "\0",
        "x" * 3_000_000,
        "plain words",
        b"\xff\xfe\xfa",
    ],
)
def test_hostile_xml_is_a_reject(archive, content):
    scan = check(archive({"1.xml": content}).scan())
    assert rejected(scan) == {"1": "unreadable_report"}


def test_deep_xml_costs_nothing(archive):
    scan = check(archive({"1.xml": "<a>" * 100_000 + "</a>" * 100_000}).scan())
    assert rejected(scan) == {"1": "no_image"}


@settings(max_examples=50)
@given(st.text())
def test_no_text_breaks_the_parser(text):
    for content in (text, xml(1, findings=text)):
        with suppress(ReportError):  # any other exception would stop a scan
            assert isinstance(parse_xml(content)["text"], str)


def test_codes_of_a_report():
    assert mesh_labels(["Opacity/lung/base", "Subcutaneous  Emphysema/left", "Unsatisfactory "]) == [
        ("Opacity/lung/base", 1.0),
        ("Subcutaneous Emphysema/left", 1.0),
        ("Unsatisfactory", 1.0),
    ]
    assert mesh_labels(["No Indexing"]) is mesh_labels([""]) is mesh_labels(None) is None
    assert mesh_labels(["normal", "normal"]) == [("normal", 1.0)]


def test_names_that_all_editions_share():
    names = {
        "CXR1_1_IM-0001-3001": "1_IM-0001-3001",
        "CXR1000_IM-0003-1001": "1000_IM-0003-1001",
        "1_IM-0001-3001.dcm.png": "1_IM-0001-3001",
        "CXR10_10_IM-0002-1001.png": "10_IM-0002-1001",
        "CXR162_IM-0401-1001-0001.dcm": "162_IM-0401-1001-0001",
    }
    assert {name: plain_name(name) for name in names} == names


def test_a_name_of_any_length_is_read_soon():
    began = time.process_time()
    assert plain_name(".png" * 200_000 + "x") == ".png" * 200_000 + "x"
    assert plain_name("x" + ".png" * 200_000) == "x"
    assert time.process_time() - began < 5


def test_text_of_a_report():
    assert report_text({"IMPRESSION": " Normal. ", "FINDINGS": " ", "OTHER": "x"}) == "IMPRESSION: Normal."
    assert report_text({}) == ""


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(CohortError, match=r"indiana_reports\.csv.*no XML report.*RADALIGN_OPEN_I_ROOT.*openi"):
        OpenI(tmp_path).scan()


def test_simulated_tables_have_the_headers_of_the_real_ones(editions, shared_data):
    for ours, real in (("indiana_reports.csv", "dev.csv"), ("indiana_projections.csv", "dev_projections.csv")):
        with open(editions["kaggle"] / ours) as one, open(shared_data / "openi_reports" / real) as other:
            assert next(one) == next(other)


def test_real_reports_of_the_kaggle_edition(shared_data, tmp_path):
    source = shared_data / "openi_reports"
    shutil.copy(source / "dev.csv", tmp_path / "indiana_reports.csv")
    shutil.copy(source / "dev_projections.csv", tmp_path / "indiana_projections.csv")
    with open(source / "dev_projections.csv", encoding="utf-8") as stream:
        projections = list(csv.DictReader(stream))
    with open(source / "dev.csv", encoding="utf-8") as stream:
        reports = {f"CXR{row['uid']}": row for row in csv.DictReader(stream)}
    folder = tmp_path / "images" / "images_normalized"
    folder.mkdir(parents=True)
    encoded = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    for row in projections:
        (folder / row["filename"]).write_bytes(encoded)
    cohort = OpenI(tmp_path)
    scan = check(cohort.scan())
    assert scan.source_rows == len(projections)
    assert len(scan.studies) == sum(row["projection"] == "Frontal" for row in projections)
    assert set(rejected(scan).values()) == {"view_not_chosen"}
    rows = by_image(scan)
    uncoded = sum(reports[row["study_id"]]["MeSH"] == "No Indexing" for row in rows.values())
    assert uncoded == sum(not row["labels"] for row in rows.values()) > 0
    assert Counter(label for row in rows.values() for label in row["labels"])["normal"] > 300
    sections = ("indication", "comparison", "findings", "impression")
    parted = 0
    for row in rows.values():
        given_sections = {name: " ".join(reports[row["study_id"]][name].split()) for name in sections}
        if not any(given_sections.values()):
            continue
        parsed = parse_report(cohort.read_report(row), "sectioned", EVERYTHING)
        parted += any(" ".join((getattr(parsed, name) or "").split()) != given_sections[name] for name in sections)
    assert parted <= 5  # of 1,138: texts that hold a heading of their own
