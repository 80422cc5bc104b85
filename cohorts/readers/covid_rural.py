"""COVID Rural: opacities outlined on the radiographs of a rural population with COVID-19 (TCIA COVID-19-AR).

Desai et al., "Chest imaging representing a COVID-19 positive rural U.S. population", Scientific Data 7 (2020) 414;
masks of Tang et al., github.com/haimingt/opacity_segmentation_covid_chest_X_ray. The images are CC BY 4.0, the masks
state no licence.

    covid_rural_annot/jpgs/COVID-19-AR-16406541_01-19-2012-XR.jpg         RGB; patient before the first underscore
    covid_rural_annot/pngs_masks/COVID-19-AR-16406541_01-19-2012-XR.png   the same size; 0 and 1 (not 255): opacity

The date in a name is shifted. The root is the repository, its covid_rural_annot, or a folder that holds the repository.
The dataset has no labels: its masks say whether an image has opacities. An image without a mask was not outlined and is
a reject. The notes of covid_rural_radiologist_notes.csv name a patient and a day after diagnosis but no image, and are
not read. No split is published. Patients are divided 60/20/20, the shares of LoVT, whose lists cannot be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cohorts import dataset
from cohorts.archive.facts import read_dates
from cohorts.archive.marks import Mark
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset
from cohorts.rows import PLAIN_NAMES, files_below, first_reasons, list_column, look_for_files, number_duplicates
from cohorts.splits import split_by_patient
from cohorts.tables import MASK

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("", "covid_rural_annot/", "*/covid_rural_annot/")
IMAGES, MASKS = "jpgs", "pngs_masks"
DATED = r"^.*?_(\d{2})-(\d{2})-(\d{4})-.*"  # a name with month, day and year
OPACITY = "opacity"
DETAILS = {
    "path_outside_root": "The file name is empty or has signs that could name a path elsewhere.",
    "no_subject": "The file name has no underscore, so it does not say whose image it is.",
    "duplicate_id": "There is another image of this name with another ending.",
    "missing_file": "There is a mask and no image of this name.",
    "missing_mask": "There is an image and no mask of this name.",
}
DATASET = Dataset(
    name="covid_rural",
    licence="none is stated",
    purposes=(dataset.REGIONS, dataset.MASKS),
    zero_shot={OPACITY: "COVID-19"},
    regions=(OPACITY,),
)


class CovidRural(Reader):
    """Reads the images of COVID-19-AR that have masks."""

    name = DATASET.name
    has_reports = False
    splits = ("60/20/20",)
    signature = (
        (
            Mark(tuple(f"{folder}{IMAGES}/COVID-19-AR-*_*.jpg" for folder in FOLDERS)),
            Mark(tuple(f"{folder}{MASKS}/COVID-19-AR-*_*.png" for folder in FOLDERS)),
        ),
    )
    how_to_get = "set it to a copy of github.com/haimingt/opacity_segmentation_covid_chest_X_ray."

    def scan(self) -> Scan:
        """List every image and every mask without an image as a study or a reject, by name."""
        rows = self._rows()
        rows["reason"] = self._reasons(rows)
        rows["image_id"] = number_duplicates(rows["image_id"])
        rows["split"] = split_by_patient(self.name, self.split, rows["subject_id"])
        rows = rows.assign(cohort=self.name, study_id=rows["image_id"], view="")
        masks = rows[["image_id"]].assign(label=OPACITY, path=rows["mask_path"], threshold=0)
        return split_scan(rows, DETAILS, {"masks": list_column(rows["image_id"], masks, MASK)})

    def _rows(self) -> pd.DataFrame:
        import pandas as pd

        images, masks = self._files(IMAGES, (".jpg", ".jpeg", ".JPG")), self._files(MASKS, (".png",))
        if images.empty and masks.empty:
            raise self.missing(f"covid_rural_annot/{IMAGES}")
        alone = masks[~masks.isin(counterparts(images, MASKS, ".png"))]
        images = pd.concat([images, counterparts(alone, IMAGES, ".jpg")], ignore_index=True)
        names = images.str.extract(r"([^/]*)\.[^.]*$", expand=False)
        return pd.DataFrame(
            {
                "image_id": names,
                "subject_id": names.str.extract("^(.*?)_", expand=False).fillna(""),
                "image_path": images,
                "mask_path": counterparts(images, MASKS, ".png"),
                "date": read_dates(names.str.replace(DATED, r"\3\1\2", regex=True)),  # shifted
            }
        )

    def _files(self, kind: str, extensions: Sequence[str]) -> pd.Series:
        """Paths of the images or the masks."""
        import pandas as pd

        return pd.Series(files_below(self.root, [f"{folder}{kind}" for folder in FOLDERS], extensions), dtype=object)

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


def counterparts(paths: pd.Series, kind: str, extension: str) -> pd.Series:
    """Paths of the files that belong to images or masks: of the same name, in the folder of the other kind beside."""
    return paths.str.replace(r"[^/]*/([^/]*)\.[^.]*$", rf"{kind}/\1{extension}", regex=True)
