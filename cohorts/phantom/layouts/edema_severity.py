"""EdemaSeverity: the three tables of grades beside MIMIC-CXR-JPG, which has the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.files import write_rows
from cohorts.phantom.layouts import mimic_cxr_jpg
from cohorts.phantom.simulated import SimulatedStudy

FOLDER = "mimic-cxr-pe-severity/1.0.1"
NOT_GRADABLE = -1
REPORT_COLUMNS = ("subject_id", "study_id", "edema_severity")
IMAGE_COLUMNS = ("subject_id", "study_id", "dicom_id", "edema_severity")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write mimic-cxr-jpg/ and mimic-cxr-pe-severity/ below `root`."""
    mimic_cxr_jpg.write(root, studies)
    regex = [[study.subject_id, study.study_id, regex_grade(study)] for study in studies if study.patient % 5]
    expert = [[study.subject_id, study.study_id, grade(study)] for study in studies if study.patient % 5 == 1]
    consensus = [
        [study.subject_id, study.study_id, study.image_id, grade(study)]
        for study in studies
        if study.patient % 6 == 2 and not study.visit
    ]
    write_rows(root / FOLDER / "regex_report_edema_severity.csv", REPORT_COLUMNS, regex)
    write_rows(root / FOLDER / "expert_report_edema_severity.csv", REPORT_COLUMNS, expert)
    write_rows(root / FOLDER / "consensus_image_edema_severity.csv", IMAGE_COLUMNS, consensus)


def grade(study: SimulatedStudy) -> int:
    """0 without edema, else 1, 2 or 3 by its strength."""
    strengths = [finding.strength for finding in study.findings if finding.name == "edema"]
    return 1 + min(2, int(3 * strengths[0])) if strengths else 0


def regex_grade(study: SimulatedStudy) -> int:
    """The grade that expressions find in the report; NOT_GRADABLE where it does not mention edema."""
    said = study.statements.get("edema")
    return NOT_GRADABLE if said is None else grade(study) if said else 0
