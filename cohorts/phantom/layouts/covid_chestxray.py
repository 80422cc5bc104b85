"""covid-chestxray-dataset as its repository has it: metadata.csv with an empty last column, and images/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import SimulatedStudy, to_grey

COLUMNS = (
    *("patientid", "offset", "sex", "age", "finding", "RT_PCR_positive", "survival", "intubated"),
    *("intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature"),
    *("pO2_saturation", "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date"),
    *("location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", ""),
)
DATES = ("January 22, 2020", "2020", "")  # most images have a day, some a year, some nothing
PLACES = ("Hannover, Germany", "Cho Ray Hospital, Ho Chi Minh City, Vietnam", "")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write metadata.csv and images/: a row per image, lateral ones (view L) too."""
    rows = []
    for study in studies:
        images = {study.view if study.index % 4 else "AP Supine": study.pixels}
        if study.lateral is not None:
            images["L"] = study.lateral
        for view, pixels in images.items():
            name = f"{study.image_id[:8].upper()}-{study.index}{'-lateral' if view == 'L' else ''}.jpg"
            write_image(root / "images" / name, to_grey(pixels))
            values = {
                "patientid": study.patient + 1,
                "offset": study.visit,
                "sex": study.sex,
                "age": study.age,
                "finding": finding(study),
                "view": view,
                "modality": "X-ray",
                "date": DATES[study.index % len(DATES)],
                "location": PLACES[study.patient % len(PLACES)],
                "folder": "images",
                "filename": name,
                "license": "CC BY",
                "clinical_notes": note(study.report),
            }
            rows.append([values.get(column, "") for column in COLUMNS])
    write_rows(root / "metadata.csv", COLUMNS, rows)


def finding(study: SimulatedStudy) -> str:
    """A path in the collection's tree of findings; consolidations stand for COVID-19."""
    if "consolidation" in study.masks:
        return "Pneumonia/Viral/COVID-19"
    return "Pneumonia" if study.masks.keys() & {"edema", "atelectasis", "effusion"} else "No Finding"


def note(report: str) -> str:
    """The report's findings as running text; other notes are empty, as many are."""
    found = re.search(r"FINDINGS:(.*?)(?:IMPRESSION:|$)", report, re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""
