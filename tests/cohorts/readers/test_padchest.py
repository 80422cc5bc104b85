"""PadChest: labels as Python lists, the places of images, reports in stems, and the two families of splits."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.phantom.layouts.padchest import TABLE, patient_id, report_of, write
from cohorts.phantom.simulated import SimulatedStudy
from cohorts.readers.padchest import DATASET, PadChest, read_labels
from imaging.decode import read_grey
from ingestion.stages.reports import section_batch
from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions
from report_parsing.statements.triplets import TripletParser
from tests.cohorts.scans import by_image, check, rejected


@pytest.fixture(scope="module")
def studies(simulated) -> list[SimulatedStudy]:
    return simulated[:32]


@pytest.fixture(scope="module")
def layout(studies, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("padchest")
    write(root, studies)
    return root


@pytest.fixture
def copy(layout, tmp_path) -> Path:
    return shutil.copytree(layout, tmp_path / "copy", copy_function=os.link)


def read(root: Path) -> list[dict[str, str]]:
    with open(root / TABLE, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def rewrite(root: Path, rows: list[dict[str, str]], without: tuple[str, ...] = ()) -> None:
    names = [name for name in rows[0] if name not in without]
    (root / TABLE).unlink()
    with open(root / TABLE, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_the_header_is_the_published_one(layout):
    names = (layout / TABLE).read_text().splitlines()[0].split(",")
    assert len(names) == 36
    assert names[:4] == ["", "ImageID", "ImageDir", "StudyDate_DICOM"]
    assert names[-7:] == [
        *("Report", "MethodLabel", "Labels", "Localizations", "LabelsLocalizationsBySentence"),
        *("labelCUIS", "LocalizationsCUIS"),
    ]


def test_labels_facts_and_views(layout, studies):
    scan = check(PadChest(layout, "80/10/10").scan())
    laterals = sum(study.lateral is not None for study in studies)
    assert Counter(rejected(scan).values()) == {"view_not_chosen": laterals}
    for row, study in zip(scan.studies.to_pylist(), studies, strict=True):
        labels = [label for words in report_of(study)[1] for label in words if not label.startswith("loc")]
        wanted = {label for label in labels if label != "normal"} or {"normal"}
        assert dict(row["labels"]) == dict.fromkeys(wanted, 1)
        assert (row["sex"], row["age"], row["device"]) == (study.sex, study.age, "PhilipsMedicalSystems")
        assert row["date"].startswith(f"{2009 + study.index % 9}-")
        assert row["subject_id"] == patient_id(study)
        assert row["view"] == ("AP HORIZONTAL" if study.view == "AP" else "PA")
        assert read_grey(layout / row["image_path"]).shape == study.pixels.shape
    both = check(PadChest(layout, "80/10/10", ("frontal", "lateral")).scan())
    assert Counter(both.studies["view"].to_pylist())["L"] == laterals


def test_the_labels_of_physicians_are_the_test_set(copy):
    rows = read(copy)
    patient = rows[0]["PatientID"]
    mixed = [row for row in rows if row["PatientID"] == patient]
    others = [{**mixed[0], "ImageID": f"more_{number}.png", "MethodLabel": "RNN_model"} for number in range(2)]
    rewrite(copy, [*rows, {**others[0], "MethodLabel": "Physician"}, others[1]])
    for row in others:
        shutil.copy(copy / mixed[0]["ImageDir"] / mixed[0]["ImageID"], copy / row["ImageDir"] / row["ImageID"])
    scan = check(PadChest(copy).scan())
    assert rejected(scan)["more_1"] == "patient_in_later_split"
    by_split = {(row["ImageID"].removesuffix(".png"), row["MethodLabel"]) for row in rows}
    method = dict(by_split) | {"more_0": "Physician"}
    for image, row in by_image(scan).items():
        assert (row["split"] == "test") == (method[image] == "Physician")


def test_reports_are_text_and_no_triplets_are_read_from_stems(layout, studies):
    cohort = PadChest(layout, "80/10/10")
    scan = cohort.scan()
    reports, rejects = section_batch(cohort, scan.studies, ReportOptions(minimum_tokens=1))
    assert (len(reports), len(rejects)) == (len(studies), 0)
    assert {row["report"] for row in reports.to_pylist()} == {report_of(study)[0] for study in studies}
    assert set(reports["language"].to_pylist()) == {"und"}
    assert len(TripletParser().parse_table(reports)) == 0
    with pytest.raises(ReportError, match="no report"):
        cohort.read_report({"study_id": "gone"})


@pytest.mark.parametrize("place", ["images/{0}/{1}", "images/{1}", "{1}"])
def test_the_places_of_images(copy, place):
    before = check(PadChest(copy).scan())
    (copy / "images").mkdir()
    for row in read(copy):
        target = copy / place.format(row["ImageDir"], row["ImageID"])
        target.parent.mkdir(exist_ok=True)
        (copy / row["ImageDir"] / row["ImageID"]).rename(target)
    after = check(PadChest(copy).scan())
    assert after.studies.drop(["image_path"]).equals(before.studies.drop(["image_path"]))


def test_the_older_table_without_what_is_optional(copy):
    before = check(PadChest(copy, "80/10/10").scan())
    (copy / "images").mkdir()
    for row in read(copy):
        (copy / row["ImageDir"] / row["ImageID"]).rename(copy / "images" / row["ImageID"])
    optional = ("ImageDir", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Manufacturer_DICOM")
    rewrite(copy, read(copy), optional)
    (copy / TABLE).rename(copy / TABLE.replace("_01.02.19", ""))
    after = check(PadChest(copy, "80/10/10").scan())
    facts = ["date", "sex", "age", "device"]
    assert after.studies["labels"].equals(before.studies["labels"])
    assert all(after.studies[name].null_count == len(after.studies) for name in facts)


def test_every_way_a_row_can_fail(copy):
    rows = read(copy)
    first = rows[0]
    wrong = {
        "../../secret.png": ({}, "path_outside_root"),
        "climbs.png": ({"ImageDir": "../0"}, "path_outside_root"),
        "gone.png": ({}, "missing_file"),
        "nobody.png": ({"PatientID": " "}, "no_subject"),
        "no_study.png": ({"StudyID": ""}, "no_study"),
        "bad.png": ({"Labels": "['a', 'b'"}, "bad_labels"),
        "exclude.png": ({"Labels": "['nodule', ' exclude']"}, "excluded"),
        "side.png": ({"Projection": "COSTAL"}, "view_not_chosen"),
    }
    rewrite(copy, [*rows, first, *({**first, "ImageID": name, **change} for name, (change, _) in wrong.items())])
    before = {row["ImageID"].removesuffix(".png") for row in rows}
    scan = check(PadChest(copy, "80/10/10").scan())
    found = {image: reason for image, reason in rejected(scan).items() if image not in before}
    expected = {name.removesuffix(".png"): reason for name, (_, reason) in wrong.items()}
    assert found == {**expected, first["ImageID"].removesuffix(".png") + "#2": "duplicate_id"}


def test_facts_that_cannot_be_are_left_out(copy):
    rows = read(copy)
    rows[0] |= {"StudyDate_DICOM": "20141399", "PatientSex_DICOM": "X", "PatientBirth": "1700.0", "Labels": ""}
    rewrite(copy, rows)
    study = by_image(check(PadChest(copy, "80/10/10").scan()))[rows[0]["ImageID"].removesuffix(".png")]
    assert (study["date"], study["sex"], study["age"], study["labels"]) == (None, None, None, {})


def test_what_is_missing_is_said(copy):
    (copy / TABLE).unlink()
    with pytest.raises(CohortError, match=r"no PADCHEST.*RADALIGN_PADCHEST_ROOT.*BIMCV"):
        PadChest(copy).scan()


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[]", []),
        ("['normal']", ["normal"]),
        ("['COPD signs', ' pleural  effusion', 'COPD signs', '']", ["COPD signs", "pleural effusion"]),
        ("[\"chilaiditi's sign\", 'nodule' ]", ["chilaiditi's sign", "nodule"]),
        ("['a' 'b']", None),
        ("__import__('os')", None),
        ("", None),
    ],
)
def test_labels_are_read_and_nothing_is_evaluated(text, labels):
    assert read_labels(text) == labels


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\\'\"", exclude_categories=["C", "Z"]))))
def test_any_list_of_words_is_read(words):
    assert read_labels(str(words)) == list(dict.fromkeys(word for text in words if (word := " ".join(text.split()))))


def test_classes_are_labels_of_the_simulation(studies):
    found = {label for study in studies for words in report_of(study)[1] for label in words}
    assert {"pleural effusion", "cardiomegaly", "nodule"} <= found & set(DATASET.classes)
