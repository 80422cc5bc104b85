"""Reads a simulated archive: MIMIC-CXR's reader, with the simulator's truth in place of labels mined from reports.

The truth is for evaluation. Training reads shards through triplets of parsed reports and never these labels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cohorts.archive import csv_files
from cohorts.archive.facts import READ, read_facts
from cohorts.archive.marks import Mark
from cohorts.dataset import Dataset
from cohorts.labels import label_maps
from cohorts.phantom import PHANTOM
from cohorts.phantom.config import FINDINGS
from cohorts.readers.mimic_cxr import MimicCxr
from cohorts.tables import BOX, MASK, MASK_THRESHOLD

if TYPE_CHECKING:
    import pandas as pd
DATASET = Dataset(name=PHANTOM, licence="none is needed: the images are simulated")
SIDES = ["x", "y", "w", "h"]


class PhantomCohort(MimicCxr):
    """A simulated archive, in the layout that `cohorts.phantom.archive` writes."""

    name = DATASET.name
    how_to_get = "leave it unset to have the archive simulated under RADALIGN_HOME."
    signature = tuple((*edition, Mark(("truth/labels.csv",), ("dicom_id",))) for edition in MimicCxr.signature)

    def labels(self) -> pa.Table | None:
        """The true findings: 1 or 0 for each finding of the simulator."""
        truth = self._truth("labels.csv", FINDINGS)
        if truth is None:
            return None
        maps = label_maps(FINDINGS, csv_files.numbers(truth, FINDINGS))
        return pa.table({"image_id": truth["dicom_id"].to_list(), "labels": maps})

    def _metadata(self) -> pd.DataFrame:
        """The metadata with the facts of the simulated patients."""
        rows = super()._metadata()
        facts = self._truth("facts.csv", list(READ))
        if facts is None:
            return rows
        known = facts.drop_duplicates("dicom_id").set_index("dicom_id").reindex(rows["dicom_id"]).fillna("")
        read = read_facts(known.set_axis(rows.index), {name: name for name in READ})
        return rows.assign(**read)

    def boxes(self) -> pa.Table | None:
        """The box around the mask of each finding."""
        columns = {"name": "label", "x": "x", "y": "y", "w": "width", "h": "height"}
        return self._collect_lists("boxes", columns, BOX)

    def masks(self) -> pa.Table | None:
        """Paths of the masks of the findings."""
        return self._collect_lists("masks", {"name": "label", "mask": "path", "threshold": "threshold"}, MASK)

    def _collect_lists(self, value: str, columns: dict[str, str], item: pa.DataType) -> pa.Table | None:
        """The rows of `boxes.csv` as one list per image."""
        truth = self._truth("boxes.csv", ["name", "mask", *SIDES])
        if truth is None:
            return None
        truth[SIDES] = csv_files.numbers(truth, SIDES)
        truth["threshold"] = MASK_THRESHOLD
        records = truth.rename(columns=columns)[list(columns.values())].to_dict("records")
        lists: dict[str, list[dict[Hashable, Any]]] = {}
        for image_id, record in zip(truth["dicom_id"], records, strict=True):
            lists.setdefault(image_id, []).append(record)
        array = pa.array(list(lists.values()), pa.list_(item))
        return pa.table({"image_id": pa.array(list(lists), pa.string()), value: array})

    def _truth(self, file: str, columns: Sequence[str]) -> pd.DataFrame | None:
        path = csv_files.find([self.root / "truth"], file)
        if path is None or path.stat().st_size < 3:  # a line end alone where nothing was simulated
            return None
        return csv_files.read(path, ["dicom_id", *columns])
