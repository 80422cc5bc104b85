"""Stage `report_labels`: the 14 CheXpert labels that follow from the triplets of a batch of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from ingestion.stage import Work
    from store.batches import Computed

CODE = ("ingestion.stages.report_labels",)


def compute(work: Work) -> Computed:
    """The labels of one batch; none of a report in a language that is not parsed, unless RadGraph speaks of it."""
    from ingestion.stages.unparsed import find_unparsed, list_unparsed
    from report_parsing.chexpert import label_table

    reports, triplets = (pq.read_table(work.inputs[name]) for name in ("reports", "triplets"))
    silent = pc.invert(pc.is_in(reports["study_id"], value_set=triplets["study_id"].combine_chunks()))
    unread = pc.and_(find_unparsed(reports), silent)
    labels = label_table(reports.filter(pc.invert(unread))["study_id"], triplets)
    return labels, list_unparsed(reports.filter(unread), "report_labels")
