"""COVID Rural: images of COVID-19-AR in colour, masks of 0 and 1, and the tables of patients and notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.simulated import SimulatedStudy

FOLDER = "opacity_segmentation_covid_chest_X_ray-master/covid_rural_annot"
OPACITIES = ("consolidation", "edema", "atelectasis")
FIRST_PATIENT, FIRST_DAY = 16406488, date(2012, 1, 2)
DISEASES = (
    *("TUBERCULOSIS", "SYSTEMIC LUPUS ERYTHMATOSUS", "RHEUMATOID ARTHRITIS", "EXTENSIVE BURNS", "ASPLENIA"),
    *("HYPOSPLENIA", "MEASLES", "CYTOMEGALOVIRUS", "CHICKEN POX", "HERPES ZOSTER", "MALNUTRITION", "CURRENT PREGNANT"),
    *("CHRONIC KIDNEY DISEASE", "DIABETES TYPE I", "DIABETES TYPE II", "TRANSPLANT", "HEMODIALYSIS Pre Diagnosis"),
    *("HEMODIALYSIS Post diagnosis", "CANCER"),
)
PATIENT_COLUMNS = (
    *("PATIENT_ID", "AGE", "SEX", "RACE", "ZIP", "LATEST_BMI", "LATEST WEIGHT", "LATEST_HEIGHT_inches", *DISEASES),
    *("COVID TEST POSITIVE", "TEST NAME", "ICU Admit", "# ICU admits", "MORTALITY"),
)
NOTE_COLUMNS = (
    *("patient_id", "Diag to img study (days)", "Diagnosis to Imaging time (hrs)", "Image Study Description"),
    "Radiologist KEY FINDINGS",
)
UNMARKED = 5  # of so many images without an opacity one was not outlined at all


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write the repository of the masks below `root`."""
    folder = root / FOLDER
    notes, patients = [], {}
    for study in studies:
        name, mask = image_name(study), opacity(study)
        write_image(folder / "jpgs" / f"{name}.jpg", np.dstack([study.grey] * 3))
        if mask.any() or study.index % UNMARKED:
            write_image(folder / "pngs_masks" / f"{name}.png", mask.astype(np.uint8))
        patients[study.patient] = [patient_id(study), study.age, study.sex, *([0] * (len(PATIENT_COLUMNS) - 3))]
        note = "Airspace opacities" if mask.any() else "The lungs are clear"
        notes.append([patient_id(study), study.visit, 24 * study.visit, "XR CHEST AP PORTABLE", note])
    write_rows(folder / "covid_rural_patient_info.csv", PATIENT_COLUMNS, patients.values())
    write_rows(folder / "covid_rural_radiologist_notes.csv", NOTE_COLUMNS, notes)


def patient_id(study: SimulatedStudy) -> str:
    """As in COVID-19-AR."""
    return f"COVID-19-AR-{FIRST_PATIENT + study.patient}"


def image_name(study: SimulatedStudy) -> str:
    """Patient and shifted day, without an extension."""
    day = FIRST_DAY + timedelta(days=3 * study.visit + study.patient % 60)
    return f"{patient_id(study)}_{day:%m-%d-%Y}-XR"


def opacity(study: SimulatedStudy) -> np.ndarray:
    """Where the image has an opacity, (height, width) bool."""
    found = [study.masks[name] for name in OPACITIES if name in study.masks]
    return np.logical_or.reduce([np.zeros(study.pixels.shape, bool), *found])
