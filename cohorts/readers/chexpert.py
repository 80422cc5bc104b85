"""CheXpert: 224,316 chest radiographs of 65,240 patients at Stanford Hospital, labelled from reports that stay there.

Irvin et al., "CheXpert: A large chest radiograph dataset with uncertainty labels and expert comparison", AAAI 2019.
Stanford University Dataset Research Use Agreement: no redistribution, non-commercial. v1.0 and v1.0-small, as a root
or below it, with the test set of the competition where it was asked for:

    train.csv valid.csv     per image: Path, Sex, Age, Frontal/Lateral, AP/PA, 14 labels (1, 0, -1, empty)
    train/patient00001/study1/view1_frontal.jpg     Path begins with the name of the release folder
    test/patient64741/study1/view1_frontal.jpg
    groundtruth.csv         per study of the test set: Study, 14 labels (1, 0), of five radiologists; from
                            github.com/rajpurkarlab/cheXpert-test-set-labels

A row of train.csv or valid.csv is a source row, and an image of the test set. Families of splits:

    official   train.csv trains, valid.csv validates, the test set tests (CheXzero, LRCLR)
    gloria     train patients with about 5,000 images validate, valid.csv tests, the test set is left out (ConVIRT,
               GLoRIA and MGCA, who chose images at random without a seed, so that training patients also validate)

CheXpert 5x200 is a part of train.csv: its patients must be dropped from training where it is used.
"""

from __future__ import annotations

from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cohorts.archive import csv_files
from cohorts.archive.facts import read_facts
from cohorts.archive.folders import is_file, matches
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import CATEGORIES, CLASSES, ZERO_SHOT, Dataset, in_own_words
from cohorts.labels import CHEXPERT_5, CHEXPERT_14, are_spoilt, label_maps
from cohorts.rows import files_below, first_reasons, look_for_files, number_duplicates
from cohorts.splits import OFFICIAL, carve_validation
from cohorts.views import NOT_CHOSEN, are_not_chosen

if TYPE_CHECKING:
    import pandas as pd

GLORIA = "gloria"
SPLIT_OF = {
    OFFICIAL: {"train": "train", "valid": "validate", "test": "test"},
    GLORIA: {"train": "train", "valid": "test"},
}
VALIDATION_SHARE = 5000 / 223414  # of the images of train.csv
PATHS = r"(?:[^/]+/)?((train|valid|test)/(patient\d+)/(study\d+)/(view\d+_(?:frontal|lateral))\.jpg)"
STUDIES = r"(?:[^/]+/)?(test/patient\d+/study\d+)/?"
LABELS_OF_TEST = "groundtruth.csv"
SIDES = ("AP", "PA")
FACTS = {"sex": "Sex", "age": "Age"}  # their columns in train.csv and valid.csv
DETAILS = {
    "path_outside_root": "Path is not of the published form, folder/patient/study/view, so it could lead elsewhere.",
    "duplicate_id": "An earlier row names the same image.",
    "not_in_split": "The chosen family of splits leaves the test set out.",
    "no_labels": "groundtruth.csv has no row for the study of this test image.",
    "bad_label": "A label is none of 1, 0, -1 and empty.",
    "missing_file": "The table names this image, or this study of the test set, but there is no such file.",
}
DATASET = Dataset(
    name="chexpert",
    purposes=(ZERO_SHOT, CLASSES, CATEGORIES),
    zero_shot=in_own_words(*CHEXPERT_14),
    classes=CHEXPERT_5,
    uncertain="chexpert_5",
    blank=0.0,  # GLoRIA, MGCA and BenchX read blanks so
    image_sources=("CheXpert",),
    patient_sources=("CheXpert",),
)


class CheXpert(Reader):
    """Reads CheXpert v1.0 and v1.0-small."""

    name = DATASET.name
    has_reports = False
    splits = (OFFICIAL, GLORIA)
    signature = (
        tuple(
            Mark((f"{part}.csv", f"CheXpert*/{part}.csv"), ("Path", "Frontal/Lateral", "AP/PA", *CHEXPERT_14))
            for part in ("train", "valid")
        ),
    )
    how_to_get = (
        "set it to the folder of CheXpert-v1.0 or CheXpert-v1.0-small, which the Stanford AIMI centre gives to those "
        "who sign its agreement (stanfordmlgroup.github.io/competitions/chexpert)."
    )

    def scan(self) -> Scan:
        """List every row of train.csv and valid.csv and every image of the test set, in this order."""
        import pandas as pd

        release = self._release()
        tables = [self._table(release / f"{part}.csv") for part in ("train", "valid")]
        source = pd.concat([*tables, self._test_set(release)], ignore_index=True)
        source["problem"] = source.get("problem", pd.Series("", source.index)).fillna("")
        rows = self._identify_rows(source, release)
        values = csv_files.numbers(source, CHEXPERT_14)
        rows["spoilt"] = are_spoilt(source, CHEXPERT_14, values)
        rows["reason"] = self._reasons(rows)
        rows["image_id"] = number_duplicates(rows["image_id"])
        return split_scan(rows, DETAILS, {"labels": label_maps(CHEXPERT_14, values)})

    def _release(self) -> Path:
        """The folder that holds train.csv and valid.csv: the root, or one in it."""
        for folder in (self.root, *matches(self.root, "CheXpert*")):
            if all(is_file(folder / f"{part}.csv") for part in ("train", "valid")):
                return folder
        raise self.missing("train.csv with a valid.csv beside it")

    def _table(self, path: Path) -> pd.DataFrame:
        return csv_files.read(path, ["Path", "Frontal/Lateral", "AP/PA", *CHEXPERT_14], others=list(FACTS.values()))

    def _test_set(self, release: Path) -> pd.DataFrame:
        """The images of the test set with the labels of their study, then the labelled studies without an image."""
        import pandas as pd

        folder = (release / "test").relative_to(self.root).as_posix()
        paths = pd.Series(files_below(self.root, [escape(folder)], [".jpg"]), dtype=str)
        studies = paths.str.extract(f"^{STUDIES}/[^/]+$")[0]
        labels = self._test_labels(release)
        images = labels.reindex(studies).set_axis(paths.index)
        lateral = paths.str.endswith("_lateral.jpg")
        images["Path"], images["AP/PA"] = paths, ""
        images["Frontal/Lateral"] = np.where(lateral, "Lateral", "Frontal")
        images["problem"] = np.where(studies.isin(labels.index), "", "no_labels")
        lost = labels[~labels.index.isin(studies)]
        return pd.concat([images, lost.assign(Path=lost.index, problem="missing_file")], ignore_index=True)

    def _test_labels(self, release: Path) -> pd.DataFrame:
        """The 14 labels of the studies of the test set, by `test/patient<n>/study<n>`; no rows without a file."""
        import pandas as pd

        path = csv_files.find([release, self.root, self.root / "cheXpert-test-set-labels"], LABELS_OF_TEST)
        if path is None:
            return pd.DataFrame(columns=list(CHEXPERT_14), dtype=str)
        table = csv_files.read(path, ["Study", *CHEXPERT_14])
        studies = table["Study"].str.extract(f"^{STUDIES}$")[0]
        return table.set_index(studies.fillna(table["Study"])).loc[lambda rows: ~rows.index.duplicated(), CHEXPERT_14]

    def _identify_rows(self, source: pd.DataFrame, release: Path) -> pd.DataFrame:
        """The text columns of STUDIES that a row of the tables tells; image_path is empty where Path is unusable."""
        import pandas as pd

        parts = source["Path"].str.extract(f"^{PATHS}$").fillna("")
        prefix = "" if release == self.root else f"{release.relative_to(self.root).as_posix()}/"
        study = parts[2] + "-" + parts[3]
        frontal = source["Frontal/Lateral"] == "Frontal"
        usable = parts[0] != ""
        split = parts[1].map(SPLIT_OF[self.split]).fillna("")
        return pd.DataFrame(
            {
                "cohort": self.name,
                "subject_id": parts[2],
                "study_id": study.where(usable, ""),
                "image_id": (study + "-" + parts[4]).where(usable, source["Path"]),
                "image_path": (prefix + parts[0]).where(usable, source["Path"]),
                "view": source["AP/PA"].where(source["AP/PA"].isin(SIDES), "FRONTAL").where(frontal, "LATERAL"),
                "split": split if self.split == OFFICIAL else self._carve_validation(parts[2], split),
                "usable": usable,
                "problem": source["problem"],
                **read_facts(source.replace({"Age": {"0": ""}}), FACTS),  # 0: not known
            }
        )

    def _carve_validation(self, patients: pd.Series, split: pd.Series) -> pd.Series:
        return carve_validation(self.name, patients, split, VALIDATION_SHARE)

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        conditions: dict[str, pd.Series | np.ndarray] = {
            "missing_file": rows["problem"] == "missing_file",
            "path_outside_root": ~rows["usable"],
            "duplicate_id": rows["image_path"].duplicated(),
            NOT_CHOSEN: are_not_chosen(rows["view"], self.views),
            "not_in_split": rows["split"] == "",
            "no_labels": rows["problem"] == "no_labels",
            "bad_label": rows["spoilt"],
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons
