"""CheXpert Plus: PNG, the table with reports and their sections, and labels of the impressions in lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.layouts.open_i import sections
from cohorts.phantom.simulated import SimulatedStudy, chexpert_labels, to_grey
from store.atomic import write_text

TABLE = "df_chexpert_plus_240401.csv"
HEADER = (
    *("path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order"),
    *("report", "section_narrative", "section_clinical_history", "section_history", "section_comparison"),
    *("section_technique", "section_procedure_comments", "section_findings", "section_impression"),
    *("section_end_of_impression", "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity"),
    *("interpreter_needed", "insurance_type", "recent_bmi", "deceased", "split"),
)
WHOLE_EVERY = 7  # reports that the authors could not cut into sections
FIRST_OF_VALID = 64541


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """PNG/, the table and chexbert_labels/ in `root`; the validation patients are in train."""
    rows: list[tuple[Any, ...]] = []
    lines = []
    for study in studies:
        folder = study_folder(study)
        images = [("view1_frontal", "Frontal", study.pixels), ("view2_lateral", "Lateral", study.lateral)]
        for name, side, pixels in images:
            if pixels is not None:
                write_image(root / "PNG" / folder / f"{name}.png", to_grey(pixels))
                rows.append(_row(study, f"{folder}/{name}", side))
                lines.append(json.dumps({"path_to_image": f"{folder}/{name}.jpg", **_labels(study)}))
    write_rows(root / TABLE, HEADER, rows)
    write_text(root / "chexbert_labels" / "impression_fixed.json", "".join(f"{line}\n" for line in lines))


def study_folder(study: SimulatedStudy) -> str:
    """train/patient00001/study1."""
    part, first = ("valid", FIRST_OF_VALID) if study.split == "test" else ("train", 1)
    return f"{part}/patient{first + study.patient:05d}/study{study.visit + 1}"


def _row(study: SimulatedStudy, path: str, side: str) -> tuple[Any, ...]:
    cut = sections(study) if study.index % WHOLE_EVERY else {}
    view = study.view if side == "Frontal" else None
    return (
        *(f"{path}.jpg", f"{path}.dcm", side, view, path.split("/")[1], study.visit + 1, study.report.strip()),
        *(None, cut.get("indication"), None, cut.get("comparison"), None, None, cut.get("findings")),
        *(cut.get("impression"), None, None, None, study.age, {"M": "Male", "F": "Female"}[study.sex]),
        *(None, None, None, None, None, None, path.split("/")[0]),
    )


def _labels(study: SimulatedStudy) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in chexpert_labels(study.statements).items()}
