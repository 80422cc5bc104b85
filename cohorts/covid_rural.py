"""COVID Rural: opacities outlined on the radiographs of a rural population with COVID-19 (TCIA COVID-19-AR).

Desai et al., "Chest imaging representing a COVID-19 positive rural U.S. population", Scientific Data 7 (2020) 414;
masks of Tang et al., github.com/haimingt/opacity_segmentation_covid_chest_X_ray. The films are CC BY 4.0, the masks
state no licence.

    covid_rural_annot/jpgs/COVID-19-AR-16406541_01-19-2012-XR.jpg         RGB; patient before the first underscore
    covid_rural_annot/pngs_masks/COVID-19-AR-16406541_01-19-2012-XR.png   the same size; 0 and 1 (not 255): opacity

The root is the repository, its covid_rural_annot, or a folder that holds the repository. Whether a film has opacities
is what its mask says, so there are no labels here; a film without a mask was not outlined and is a reject. The notes of
covid_rural_radiologist_notes.csv name a patient and a day after diagnosis, never a film, and are not read. No split is
published: 60/20/20 by patient, the shares of LoVT (whose lists cannot be redrawn).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from cohorts.base import Reader, Scan, split_scan
from cohorts.rows import PLAIN_NAMES, first_reasons, list_column, look_for_files, number_duplicates
from cohorts.splits import split_by_patient
from cohorts.tables import MASK

FOLDERS = ("", "covid_rural_annot", "*/covid_rural_annot")
FILMS, MASKS = "jpgs", "pngs_masks"
OPACITY = "opacity"
DETAILS = {
    "path_outside_root": "The file name is empty or has signs that could name a path elsewhere.",
    "no_subject": "The file name has no underscore, so it does not say whose film it is.",
    "duplicate_id": "There is another film of this name with another ending.",
    "missing_file": "There is a mask and no film of this name.",
    "missing_mask": "There is a film and no mask of this name.",
}


class CovidRural(Reader):
    """Reads the films of COVID-19-AR that have masks."""

    name = "covid_rural"
    has_reports = False
    splits = ("60/20/20",)
    how_to_get = "set it to a copy of github.com/haimingt/opacity_segmentation_covid_chest_X_ray."

    def scan(self) -> Scan:
        """List every film and every mask without a film as a study or a reject, by name."""
        rows = self._rows()
        rows["reason"] = self._reasons(rows)
        rows["image_id"] = number_duplicates(rows["image_id"])
        rows["split"] = split_by_patient(self.name, self.split, rows["subject_id"])
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], view="")
        masks = rows[["image_id"]].assign(label=OPACITY, path=rows["mask_path"], threshold=0)
        return split_scan(rows, DETAILS, {"masks": list_column(rows["image_id"], masks, MASK)})

    def _rows(self) -> pd.DataFrame:
        folder = self._folder()
        films = file_names(folder / FILMS, (".jpg", ".jpeg"))
        masks = file_names(folder / MASKS, (".png",))
        alone = sorted(set(stems(masks)) - set(stems(films)))
        films = pd.concat([films, pd.Series(alone, dtype=object) + ".jpg"], ignore_index=True)
        names = stems(films)
        prefix = "" if folder == self.root else f"{folder.relative_to(self.root).as_posix()}/"
        return pd.DataFrame(
            {
                "image_id": names,
                "subject_id": names.str.extract(r"^(.*?)_", expand=False).fillna(""),
                "image_path": f"{prefix}{FILMS}/" + films,
                "mask_path": f"{prefix}{MASKS}/" + names + ".png",
            }
        )

    def _folder(self) -> Path:
        for pattern in FOLDERS:
            for folder in [self.root] if not pattern else sorted(self.root.glob(pattern)):
                if (folder / FILMS).is_dir():
                    return folder
        raise self.missing(f"covid_rural_annot/{FILMS}")

    def _reasons(self, rows: pd.DataFrame) -> np.ndarray:
        reasons = first_reasons(
            {
                "path_outside_root": ~rows["image_id"].str.fullmatch(PLAIN_NAMES),
                "no_subject": rows["subject_id"] == "",
                "duplicate_id": rows["image_id"].duplicated(),
            },
            len(rows),
        )
        look_for_files(self.root, rows["image_path"], reasons)
        look_for_files(self.root, rows["mask_path"], reasons, "missing_mask")
        return reasons


def file_names(folder: Path, extensions: tuple[str, ...]) -> pd.Series:
    """Sorted names of the files of a folder with these extensions in any case; bytes that are no UTF-8 are escaped."""
    names = [name for name in os.listdir(folder) if name.lower().endswith(extensions)] if folder.is_dir() else []
    return pd.Series(sorted(name.encode("utf-8", "backslashreplace").decode() for name in names), dtype=object)


def stems(names: pd.Series) -> pd.Series:
    """File names without their extensions."""
    return names.str.replace(r"\.[^.]*$", "", regex=True)
