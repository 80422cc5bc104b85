"""CheXpert Plus: the images of CheXpert with their reports, 223,462 images of 64,725 patients at Stanford Hospital.

Chambon et al., "CheXpert Plus: augmenting a large chest x-ray dataset with text radiology reports, patient demographics
and additional image formats", arXiv 2405.19538. Stanford University Dataset Research Use Agreement: no redistribution,
non-commercial.

    df_chexpert_plus_240401.csv     per image: path_to_image, frontal_lateral, ap_pa, split, age, sex, report, and the
                                    sections section_findings, section_impression, ... that the authors cut it into
    PNG/train/patient00001/study1/view1_frontal.png ...     path_to_image says .jpg; the JPG of CheXpert-v1.0 fit too
    impression_fixed.json           per line: path_to_image and 14 labels (1, 0, -1, null); optional

Sure, from public lists of the columns and readers: the columns, the values of `split` (train and valid), the labels.
Less sure: the folder above train/, so that several are tried, also DICOM/, where path_to_image is taken to differ from
path_to_dcm in its ending alone; and the folder of the labels. The edition of Redivis, a Parquet file, is not read.

A report is its sections under their names, or the column `report` where neither findings nor impression is cut out.
Many have an impression and no findings, which the setting `reports: required: []` keeps. Labels are those of the
impression; those of findings and of whole reports are other files and not read. The order of a patient's reports is no
date. Identifiers are those of the reader `chexpert`. There is no test set; families of splits:

    valid_as_test   train patients with about 5,000 images validate, the 200 patients of `valid` test
    official        train trains, valid validates
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.facts import read_facts
from cohorts.archive.marks import Mark
from cohorts.archive.paths import are_files
from cohorts.archive.text_files import read_lines
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CATEGORIES, REPORTS, ZERO_SHOT, Dataset, in_own_words
from cohorts.errors import CohortError
from cohorts.labels import CHEXPERT_14, LABELS, UNCERTAIN
from cohorts.rows import first_reasons, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, carve_validation
from cohorts.views import NOT_CHOSEN, are_not_chosen
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

TABLE = "df_chexpert_plus_*.csv"
COLUMNS = ("path_to_image", "frontal_lateral", "ap_pa", "split")
FACTS = {"sex": "sex", "age": "age"}
SECTIONS = {  # the column of each section, and the name that it has in a report
    "section_clinical_history": "CLINICAL HISTORY",
    "section_history": "HISTORY",
    "section_technique": "TECHNIQUE",
    "section_comparison": "COMPARISON",
    "section_findings": "FINDINGS",
    "section_impression": "IMPRESSION",
}
READ = ("section_findings", "section_impression")  # of which a report needs one to be taken from its sections
LABEL_FOLDERS = ("", "chexbert_labels", "labels")
LABEL_FILE = "impression_fixed.json"
PLACES = (("PNG/", ".png"), ("PNG/PNG/", ".png"), ("", ".png"), ("", ".jpg"), ("CheXpert-v1.0/", ".jpg"),
          ("CheXpert-v1.0-small/", ".jpg"), ("DICOM/", ".dcm"), ("DICOM/DICOM/", ".dcm"), ("", ".dcm"))  # fmt: skip
PROBES = 200  # rows looked at to tell which place holds the images
PATHS = r"(?:[^/]+/)?((train|valid)/(patient\d+)/(study\d+)/(view\d+_(?:frontal|lateral)))\.(?:jpg|png)"
VALID_AS_TEST = "valid_as_test"
SPLIT_OF = {
    OFFICIAL: {"train": "train", "valid": "validate"},
    VALID_AS_TEST: {"train": "train", "valid": "test"},
}
VALIDATION_SHARE = 5000 / 223228  # of the images of train
SIDES = ("AP", "PA")
DETAILS = {
    "path_outside_root": "path_to_image is not of the published form, split/patient/study/view, so it could lead away.",
    "duplicate_id": "An earlier row names the same image.",
    "no_split": "The column split says neither train nor valid, or another one than path_to_image.",
    "bad_label": "A label is none of 1, 0, -1 and null.",
    "missing_file": "The table names this image, but there is no such file.",
}
DATASET = Dataset(
    name="chexpert_plus",
    purposes=(ZERO_SHOT, CATEGORIES, REPORTS),
    zero_shot=in_own_words(*CHEXPERT_14),
    blank=0.0,  # as of CheXpert
    image_sources=("CheXpert",),
    patient_sources=("CheXpert",),
)


class CheXpertPlus(Reader):
    """Reads CheXpert Plus."""

    name = DATASET.name
    splits = (VALID_AS_TEST, OFFICIAL)
    signature = ((Mark((TABLE,), ("path_to_image", "frontal_lateral", "section_impression")),),)
    how_to_get = (
        "set it to a folder with df_chexpert_plus_240401.csv and the unpacked PNG.zip (PNG/train/ and so on) of "
        "CheXpert Plus, which the Stanford AIMI centre gives to those who sign its agreement "
        "(aimi.stanford.edu/datasets/chexpert-plus)."
    )

    def scan(self) -> Scan:
        """List every row of the table as a study or a reject, in its order."""
        source = csv_files.need(self, TABLE, COLUMNS, others=list(FACTS.values()))
        rows = self._identify_rows(source)
        labels = self._labels()
        found = [labels.get(path) for path in rows["stem"]]
        reasons = first_reasons(
            {
                "path_outside_root": rows["stem"] == "",
                "duplicate_id": rows["image_id"].duplicated(),
                NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
                "no_split": (rows["split"] == "") | (rows["part"] != source["split"].str.strip()),
                "bad_label": np.array([entry == "spoilt" for entry in found], bool),
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        rows["image_id"] = number_duplicates(rows["image_id"])
        maps = [entry if isinstance(entry, list) else None for entry in found]
        return split_scan(rows.assign(reason=reasons), DETAILS, {"labels": pa.array(maps, LABELS)})

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The sections of the report under their names, or the report as a whole."""
        text = str(self._reports.get(study["study_id"], ""))
        if not text.strip():
            raise ReportError("empty_report", "The table has no report of this study.")
        return text

    @cached_property
    def _reports(self) -> dict[str, str]:
        """The text of the report of each study, of its first row."""
        columns = ["path_to_image", "report", *SECTIONS]
        table = csv_files.need(self, TABLE, columns[:2], others=columns[2:])
        studies = _study_ids(table["path_to_image"].str.extract(f"^{PATHS}$").fillna(""))
        table = table[~studies.duplicated()].reindex(columns=columns, fill_value="")
        texts = [report_text(dict(zip(columns, values, strict=True))) for values in table.to_numpy()]
        return dict(zip(studies.drop_duplicates(), texts, strict=True))

    def _identify_rows(self, source: pd.DataFrame) -> pd.DataFrame:
        """The text columns of STUDIES that a row tells; `stem` is the path without its ending, empty where unusable."""
        import pandas as pd

        given = source["path_to_image"].str.strip()
        parts = given.str.extract(f"^{PATHS}$").fillna("")
        usable, study = parts[0] != "", _study_ids(parts)
        frontal = source["frontal_lateral"].str.strip() == "Frontal"
        side = source["ap_pa"].str.strip()
        split = parts[1].map(SPLIT_OF[self.split]).fillna("")
        path = csv_files.find([self.root], TABLE)
        assert path is not None  # `need` has read it
        rows = pd.DataFrame(
            {
                "cohort": self.name,
                "subject_id": parts[2],
                "study_id": study,
                "image_id": (study + "-" + parts[4]).where(usable, given),
                "stem": parts[0],
                "part": parts[1],
                "view": side.where(side.isin(SIDES), "FRONTAL").where(frontal, "LATERAL"),
                "split": split if self.split == OFFICIAL else self._carve_validation(parts[2], split),
                "report_path": path.name,
                **read_facts(source, FACTS),
            }
        )
        if "age" in rows:
            rows["age"] = rows["age"].mask(rows["age"] == 0)  # missing, as in CheXpert
        return rows.assign(image_path=self._image_paths(rows["stem"]).where(usable, given))

    def _carve_validation(self, patients: pd.Series, split: pd.Series) -> pd.Series:
        return carve_validation(self.name, patients, split, VALIDATION_SHARE)

    def _image_paths(self, stems: pd.Series) -> pd.Series:
        """Relative path of each image. All are of one kind and place, the one that has most of them."""
        usable = stems[stems != ""]
        sample = usable.iloc[:: max(1, len(usable) // PROBES)].tolist()
        found = {
            place: int(are_files(self.root, [place[0] + stem + place[1] for stem in sample]).sum()) for place in PLACES
        }
        prefix, suffix = max(found, key=lambda place: found[place])
        return prefix + stems + suffix

    def _labels(self) -> dict[str, list[tuple[str, float]] | str]:
        """By path without its ending the labels that are not null, or `spoilt`; the first line of each image counts."""
        path = csv_files.find([self.root / folder for folder in LABEL_FOLDERS], LABEL_FILE)
        found: dict[str, list[tuple[str, float]] | str] = {}
        for number, line in enumerate(read_lines(path) if path else (), start=1):
            if line.strip():
                record = _read_record(path, number, line)
                stem = str(record.get("path_to_image", "")).rpartition(".")[0]
                found.setdefault(stem, _read_labels(record))
        return found


def report_text(row: Mapping[str, str]) -> str:
    """The sections of a row of the table under their names; the whole report where it has none that is read."""
    if not any(row[column].strip() for column in READ):
        return row["report"]
    given = {name: row[column].strip() for column, name in SECTIONS.items()}
    return "\n\n".join(f"{name}: {text}" for name, text in given.items() if text)


def _study_ids(parts: pd.DataFrame) -> pd.Series:
    return (parts[2] + "-" + parts[3]).where(parts[0] != "", "")


def _read_record(path: Path | None, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise CohortError(f"{path} has no JSON object in line {number}; it is damaged, so fetch it again.")
    return record


def _read_labels(record: Mapping[str, Any]) -> list[tuple[str, float]] | str:
    values = {name: record.get(name) for name in CHEXPERT_14}
    given = [(name, value) for name, value in values.items() if value is not None]
    known = all(type(value) in (int, float) and value in (1, 0, UNCERTAIN) for _, value in given)
    return [(name, float(value)) for name, value in given] if known else "spoilt"
