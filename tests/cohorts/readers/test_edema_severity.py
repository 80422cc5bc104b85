"""EdemaSeverity: grades of three sources on images of MIMIC-CXR, the consensus held out with its patients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts.edema_severity import grade, regex_grade, write
from cohorts.readers.edema_severity import GRADES, EdemaSeverity
from cohorts.tables import STUDIES
from ingestion.stages.images import decode_batch
from report_parsing.errors import ReportError

FOLDER = "mimic-cxr-pe-severity/1.0.1"


@pytest.fixture
def graded(mimic):
    """A MIMIC-CXR-JPG of one image `d<n>` for each study 5000000<n> of patient 1000000<n>, and tables of grades."""
    mimic.release = mimic.tables = "mimic-cxr-jpg/2.0.0"
    for number in range(6):
        mimic.add(
            f"d{number}", f"1000000{number}", f"5000000{number}", report=None, split=("train", "test")[number % 2]
        )

    def write(
        regex: Sequence[tuple[int, object]] = (),
        expert: Sequence[tuple[int, object]] = (),
        consensus: Sequence[tuple[int, object]] = (),
        split: str | None = None,
    ) -> EdemaSeverity:
        mimic.close()
        folder = mimic.root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("regex_report", regex), ("expert_report", expert)):
            lines = [f"1000000{number},5000000{number},{grade}" for number, grade in rows]
            table(folder / f"{name}_edema_severity.csv", "subject_id,study_id,edema_severity", lines)
        lines = [f"1000000{number},5000000{number},d{number},{grade}" for number, grade in consensus]
        table(folder / "consensus_image_edema_severity.csv", "subject_id,study_id,dicom_id,edema_severity", lines)
        return EdemaSeverity(mimic.root, split)

    return write


def table(path: Path, header: str, lines: Sequence[str]) -> None:
    path.write_text("".join(line + "\n" for line in (header, *lines)))


def test_layout(simulated, tmp_path):
    write(tmp_path, simulated)
    cohort = EdemaSeverity(tmp_path)
    scan = cohort.scan()
    truth = {study.image_id: study for study in simulated}
    consensus = {study.image_id for study in simulated if study.patient % 6 == 2 and not study.visit}
    of_reports = [study for study in simulated if study.patient % 5]
    laterals = sum(study.lateral is not None for study in of_reports)
    assert scan.source_rows == len({study.image_id for study in of_reports} | consensus) + laterals
    assert set(scan.rejects["reason"].to_pylist()) == {"view_not_chosen", "not_gradable", "patient_in_later_split"}
    for image, name in grades(cohort).items():
        study = truth[image]
        by_people = image in consensus or study.patient % 5 == 1
        assert name == GRADES[grade(study) if by_people else regex_grade(study)]
    splits = {(row["subject_id"], row["split"]) for row in scan.studies.to_pylist()}
    assert len(splits) == len({subject for subject, _ in splits})
    assert {split for _, split in splits} == {"train", "validate", "test"}
    tested = {row["image_id"] for row in scan.studies.to_pylist() if row["split"] == "test"}
    assert tested == consensus
    assert len(decode_batch(cohort.root, scan.studies, 32)[0]) == len(scan.studies)


def grades(cohort: EdemaSeverity) -> dict[str, str]:
    """The name of the one grade that each image has."""
    rows = {row["image_id"]: dict(row["labels"]) for row in cohort.scan().studies.to_pylist()}
    assert all(sorted(labels.values()) == [0, 0, 0, 1] for labels in rows.values())
    return {image: next(name for name in GRADES if labels[name] == 1) for image, labels in rows.items()}


def rejected(cohort: EdemaSeverity) -> dict[str, str]:
    rejects = cohort.scan().rejects
    return dict(zip(rejects["image_id"].to_pylist(), rejects["reason"].to_pylist(), strict=True))


def test_the_consensus_comes_before_the_expert_and_the_expert_before_expressions(graded):
    cohort = graded([(0, 0), (1, 1), (2, 2), (3, "3.0")], [(1, 2), (2, 1)], [(2, 3)])
    assert cohort.scan().studies.schema.equals(STUDIES, check_metadata=True)
    assert grades(cohort) == {
        "d0": "none",
        "d1": "interstitial edema",
        "d2": "alveolar edema",
        "d3": "alveolar edema",
    }
    assert cohort.scan().source_rows == 4  # images 4 and 5 have no grade and are none of this dataset


def test_a_grade_of_a_report_goes_to_all_frontal_images_of_its_study(graded, mimic):
    mimic.add("d0b", "10000000", "50000000", view="AP", report=None)
    mimic.add("d0l", "10000000", "50000000", view="LATERAL", report=None)
    cohort = graded([(0, 1)])
    assert grades(cohort) == {"d0": "vascular congestion", "d0b": "vascular congestion"}
    assert rejected(cohort) == {"d0l": "view_not_chosen"}


def test_the_consensus_is_the_test_set_and_its_patients_are_left_out_elsewhere(graded, mimic):
    mimic.add("d0b", "10000000", "50000009", report=None)
    cohort = graded([(0, 1), (9, 2), (1, 0), (3, 1)], [], [(0, 3)])
    table(
        mimic.root / FOLDER / "regex_report_edema_severity.csv",
        "subject_id,study_id,edema_severity",
        ["10000000,50000000,1", "10000000,50000009,2", "10000001,50000001,0", "10000003,50000003,1"],
    )
    splits = {row["image_id"]: row["split"] for row in cohort.scan().studies.to_pylist()}
    assert splits["d0"] == "test"
    assert {splits["d1"], splits["d3"]} <= {"train", "validate"}
    assert rejected(cohort) == {"d0b": "patient_in_later_split"}


def test_other_families_of_splits(graded):
    rows = [(number, 0) for number in range(6)]
    official = graded(rows, [], [(1, 2)], "official").scan().studies.to_pylist()
    assert {row["image_id"]: row["split"] for row in official} == {
        f"d{number}": ("train", "test")[number % 2] for number in range(6)
    }
    shares = graded(rows, [], [(1, 2)], "60/20/20").scan()
    assert len(shares.studies) == 6
    with pytest.raises(CohortError, match="no split 'expert'"):
        graded(split="expert")


def test_spoilt_rows_are_rejects(graded, mimic):
    mimic.metadata.append(("d1", "10000001", "50000001", "PA"))
    mimic.metadata.append(("../x", "10000001", "50000001", "PA"))
    mimic.add("gone", "10000009", "50000005", image=False, report=None)
    cohort = graded([(0, -1), (1, 1), (2, 7), (3, ""), (4, "severe"), (5, 2), (7, 1)], [(7, 1)], [(8, 1)])
    scan = cohort.scan()
    assert scan.source_rows == len(scan.studies) + len(scan.rejects) == 11
    assert set(scan.studies["image_id"].to_pylist()) == {"d1", "d5"}
    assert rejected(cohort) == {
        "d0": "not_gradable",
        "d1#2": "duplicate_id",
        "d2": "bad_grade",
        "d3": "bad_grade",
        "d4": "bad_grade",
        "../x": "path_outside_root",
        "gone": "missing_file",
        "s50000007": "not_in_archive",
        "d8": "not_in_archive",
    }


def test_there_are_no_reports(graded):
    cohort = graded([(0, 1)])
    (row,) = cohort.scan().studies.to_pylist()
    assert row["report_path"] is None
    assert not cohort.has_reports
    with pytest.raises(ReportError, match="no reports"):
        cohort.read_report(row)


def test_what_is_missing_is_told(graded, mimic):
    cohort = graded([(0, 1)])
    for name in ("regex_report", "consensus_image"):
        path = mimic.root / FOLDER / f"{name}_edema_severity.csv"
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(
            CohortError, match=rf"no {name}_edema_severity\.csv in .*RADALIGN_EDEMA_SEVERITY_ROOT.*PhysioNet"
        ):
            cohort.scan()
        path.write_bytes(content)
    (mimic.root / mimic.tables / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(CohortError, match=r"no mimic-cxr-2\.0\.0-metadata\.csv\.gz.*side by side"):
        cohort.scan()
