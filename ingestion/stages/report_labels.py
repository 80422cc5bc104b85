"""Stage `report_labels`: the 14 CheXpert labels that follow from the triplets of a batch of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from ingestion.stage import Work
    from store.batches import Computed

CODE = ("ingestion.stages.report_labels",)


def compute(work: Work) -> Computed:
    """The labels of one batch."""
    from report_parsing.chexpert import label_table

    tables = {name: pq.read_table(path) for name, path in work.inputs.items()}
    return label_table(tables["reports"]["study_id"], tables["triplets"]), None
