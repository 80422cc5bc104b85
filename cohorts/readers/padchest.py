"""PadChest: 160,861 chest radiographs of 67,000 patients at a hospital of Alicante, with labels and Spanish reports.

Bustos, Pertusa, Salinas, de la Iglesia-Vayá, "PadChest: A large chest x-ray image dataset with multi-label annotated
reports", Medical Image Analysis 66 (2020), arXiv 1901.07441. BIMCV gives it on request: no sharing, no
re-identification.

    PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv[.gz]   per image: ImageID, ImageDir, StudyDate_DICOM, StudyID,
        PatientID, PatientBirth, PatientSex_DICOM, Projection, Manufacturer_DICOM, Report, MethodLabel, Labels, ...
    0/<ImageID>.png ... 50/ 54/     16 bits; ImageDir names the folder. Also below images/, or all in one folder of them

Sure, from the authors' description of the table and from public readers (torchxrayvision, vilmedic): the columns; that
Labels is a Python list with stray blanks, positive only; that Report is lower-cased, without stop words, cut to stems,
with ` . ` behind each sentence; Projection PA, L, AP, AP_horizontal, COSTAL. From public code alone: EXCLUDE among the
projections, years of birth as `1930.0`, 103 rows without labels and 17 without a report. Eleven files of the zips are
missing and ten are damaged; they become rejects like any other such file.

Labels of a quarter of the reports were given by physicians, the others by a network (MethodLabel). `exclude` marks
reports that could not be labelled; their images are rejects. A label that a report does not get counts as absent.
Labels form trees, but `atelectasis` does not include `laminar atelectasis` here.

No parser reads stems ("derram pleural izquierd"), in which "descartar" and "descartado" are one word. So the text is
for methods of plain text alone, and its triplets are rejected as `language_not_parsed`. Most reports are short:
`reports: minimum_tokens` of 1 keeps them all. LabelsLocalizationsBySentence is not read. Splits:

    physician   as CheXzero tests: images with labels of physicians are the test set, other images of their patients are
                left out, and the rest is divided 90/10 into train and validate
    80/10/10    of all patients
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.facts import keep_ages, read_dates, read_sexes, read_words
from cohorts.archive.marks import Mark
from cohorts.archive.paths import are_files
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CLASSES, ZERO_SHOT, Dataset, in_own_words
from cohorts.labels import LABELS
from cohorts.rows import PLAIN_NAMES, first_reasons, look_for_files, number_duplicates
from cohorts.splits import in_later_split, split_by_patient
from cohorts.views import NOT_CHOSEN, are_not_chosen
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

    from report_parsing.reports import Style

TABLE = "PADCHEST_chest_x_ray_images_labels_160K*.csv"
COLUMNS = ("ImageID", "StudyID", "PatientID", "Projection", "Report", "MethodLabel", "Labels")
OPTIONAL = ("ImageDir", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Manufacturer_DICOM")
PHYSICIAN = "physician"
REST = "90/10"  # train and validate of the patients without an image in the test set
EXCLUDE = "exclude"
PLACES = ("{folder}/{name}", "images/{folder}/{name}", "images/{name}", "{name}")  # of an image, below the root
PROBES = 200  # rows looked at to tell which place holds the files
LIST = re.compile(r"\[\s*(?:(?:'[^']*'|\"[^\"]*\")\s*(?:,\s*(?:'[^']*'|\"[^\"]*\")\s*)*)?\]")
ITEM = re.compile(r"'([^']*)'|\"([^\"]*)\"")
MOST_LABELS = 500  # different ones in a row; there are 193
DETAILS = {
    "path_outside_root": "ImageID or ImageDir is empty or could name a path elsewhere.",
    "no_subject": "The row has no PatientID, so it cannot be put into a split.",
    "no_study": "The row has no StudyID, by which images share a report.",
    "duplicate_id": "An earlier row names the same image.",
    "bad_labels": "Labels is no list of words.",
    "excluded": "The study has the label `exclude`: its report could not be labelled.",
    "patient_in_later_split": "The patient has images in the test set, and the labels of this one are a network's.",
    "missing_file": "The table names this image, but there is no such file.",
}
# Those of torchxrayvision that are labels of PadChest itself; most labels occur too seldom to learn from one percent.
FINDINGS = (
    "atelectasis",
    "consolidation",
    "infiltrates",
    "pneumothorax",
    "pulmonary edema",
    "emphysema",
    "pulmonary fibrosis",
    "pleural effusion",
    "pneumonia",
    "pleural thickening",
    "cardiomegaly",
    "nodule",
    "mass",
    "hiatal hernia",
    "fracture",
    "granuloma",
    "flattened diaphragm",
    "bronchiectasis",
    "aortic elongation",
    "scoliosis",
    "hilar enlargement",
    "tuberculosis",
    "air trapping",
    "costophrenic angle blunting",
    "aortic atheromatosis",
    "hemidiaphragm elevation",
)
UNASKED = ("aortic elongation", "aortic atheromatosis")  # of no observation that the knowledge base has
DATASET = Dataset(
    name="padchest",
    purposes=(ZERO_SHOT, CLASSES),
    zero_shot=in_own_words(*(name for name in FINDINGS if name not in UNASKED)),
    classes=FINDINGS,
    blank=0.0,  # only what is present is a label
)


class PadChest(Reader):
    """Reads PadChest."""

    name = DATASET.name
    report_style: Style = "stemmed"
    splits = (PHYSICIAN, "80/10/10")
    signature = ((Mark((TABLE,), ("ImageID", "PatientID", "Labels")),),)
    how_to_get = (
        "set it to a folder with PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv and the unpacked zips of images "
        "(0/ and so on), which BIMCV gives on request (bimcv.cipf.es/bimcv-projects/padchest)."
    )

    def scan(self) -> Scan:
        """List every row of the table as a study or a reject, in its order."""
        rows, labels = self._rows, [read_labels(text) for text in self._rows["Labels"]]
        rows = rows.assign(cohort=self.name, image_path=self._image_paths(rows), split=self._splits(rows))
        conditions: dict[str, pd.Series | np.ndarray] = {
            "path_outside_root": ~(rows["ImageID"].str.fullmatch(PLAIN_NAMES) & rows["folder"].str.fullmatch(r"\d*")),
            "no_subject": rows["subject_id"] == "",
            "no_study": rows["study_id"] == "",
            "duplicate_id": rows["ImageID"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "bad_labels": np.array([names is None for names in labels], bool) & (rows["Labels"] != ""),
            "excluded": np.array([names is not None and EXCLUDE in names for names in labels], bool),
            "patient_in_later_split": in_later_split(rows["subject_id"], rows["split"]),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        maps = [None if names is None else [(name, 1.0) for name in names] for names in labels]
        return split_scan(rows.assign(reason=reasons), DETAILS, {"labels": pa.array(maps, LABELS)})

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The report of a study, in stems."""
        text = str(self._reports.get(study["study_id"], ""))
        if not text.strip():
            raise ReportError("empty_report", "The table has no report of this study.")
        return text

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The table with the text columns of STUDIES that a row tells, and the columns that are read."""
        source = csv_files.need(self, TABLE, COLUMNS, OPTIONAL)
        source = source.apply(lambda column: column.str.strip()).reindex(columns=[*COLUMNS, *OPTIONAL], fill_value="")
        dates = read_dates(source["StudyDate_DICOM"])
        path = csv_files.find([self.root], TABLE)
        assert path is not None  # `need` has read it
        return source.assign(
            image_id=number_duplicates(source["ImageID"].str.removesuffix(".png")),
            study_id=source["StudyID"],
            subject_id=source["PatientID"],
            folder=source["ImageDir"].str.removesuffix(".0"),
            view=source["Projection"].str.replace("_", " ").str.upper(),
            report_path=path.name,
            date=dates,
            sex=read_sexes(source["PatientSex_DICOM"]),
            age=ages_at(dates, source["PatientBirth"]),
            device=read_words(source["Manufacturer_DICOM"]),
        )

    @cached_property
    def _reports(self) -> pd.Series:
        """The first report with words of each study."""
        rows = self._rows[self._rows["Report"] != ""].drop_duplicates("study_id")
        return rows.set_index("study_id")["Report"]

    def _image_paths(self, rows: pd.DataFrame) -> pd.Series:
        """Relative path of each image. All lie in places of one kind, the one that has most of them."""
        sample = rows.iloc[:: max(1, len(rows) // PROBES)]
        found = {place: int(are_files(self.root, _fill(place, sample).tolist()).sum()) for place in PLACES}
        return _fill(max(found, key=lambda place: found[place]), rows)

    def _splits(self, rows: pd.DataFrame) -> pd.Series:
        if self.split != PHYSICIAN:
            return split_by_patient(self.name, self.split, rows["subject_id"])
        rest = split_by_patient(self.name, REST, rows["subject_id"])
        return rest.mask(rows["MethodLabel"].str.lower() == PHYSICIAN, "test")


def read_labels(text: str) -> list[str] | None:
    """The labels of a Python list of words, each once, without the blanks around them; None where it is none."""
    if not LIST.fullmatch(text):
        return None
    words = (" ".join((single or double).split()) for single, double in ITEM.findall(text))
    return list(dict.fromkeys(word for word in words if word))[:MOST_LABELS]


def ages_at(dates: pd.Series, births: pd.Series) -> pd.Series:
    """Age in years at yyyy-mm-dd of those born in a year, such as `1930.0`; NaN where either is not known."""
    import pandas as pd

    years = pd.to_numeric(dates.str[:4], errors="coerce")
    return keep_ages(years - pd.to_numeric(births, errors="coerce"))


def _fill(place: str, rows: pd.DataFrame) -> pd.Series:
    """The path of each row's image in a place of PLACES."""
    import pandas as pd

    paths = [
        place.format(folder=folder, name=name) for folder, name in zip(rows["folder"], rows["ImageID"], strict=True)
    ]
    return pd.Series(paths, rows.index, dtype=object)
