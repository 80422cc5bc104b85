"""A report in a language that is not parsed keeps its study and text; its triplets and labels are counted rejects."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohorts.readers.mimic_cxr import MimicCxr
from ingestion.stage import Work
from ingestion.stages import report_labels, triplets
from ingestion.stages.reports import section_batch
from ingestion.stages.unparsed import UNPARSED
from report_parsing.reports import ReportOptions
from report_parsing.tables import TRIPLETS

TEXTS = {
    "50000001": "FINDINGS: Kein Pneumothorax, kein Erguss. IMPRESSION: Kein Pneumothorax.",
    "50000002": "FINDINGS: No pneumothorax. Small left effusion.",
    "50000003": "FINDINGS: Пневмоторакса нет, легкие чистые.",
}


@pytest.fixture
def inputs(mimic, tmp_path):
    """The batches of reports and triplets of a German, an English and a Russian report."""
    for study, text in TEXTS.items():
        mimic.add(f"image{study}", study=study, report=text)
    cohort = MimicCxr(mimic.close())
    reports, rejects = section_batch(cohort, cohort.scan().studies, ReportOptions())
    assert (reports["language"].to_pylist(), len(rejects)) == (["und", "en", "de"], 0)
    paths = {name: tmp_path / f"{name}.parquet" for name in ("reports", "triplets")}
    pq.write_table(reports, paths["reports"])
    return paths


def test_triplets_and_labels_are_rejected_and_counted(inputs):
    found, rejects = triplets.compute(Work(None, inputs, {"radgraph": ""}))
    assert set(found["study_id"].to_pylist()) == {"50000002"}
    assert rejects.schema.equals(UNPARSED, check_metadata=True)
    assert rejects["study_id"].to_pylist() == ["50000003", "50000001"]
    assert set(rejects["reason"].to_pylist()) == {"language_not_parsed"}
    assert rejects["detail"].to_pylist() == [
        "The report is in an unknown language, which is not parsed.",
        "The report is in German, which is not parsed.",
    ]
    pq.write_table(found, inputs["triplets"])
    labels, unlabelled = report_labels.compute(Work(None, inputs, {}))
    assert labels["study_id"].to_pylist() == ["50000002"]
    assert labels["Pneumothorax"].to_pylist() == [0.0]
    assert unlabelled["study_id"].to_pylist() == ["50000003", "50000001"]
    assert len(labels) + len(unlabelled) == len(TEXTS)


def test_labels_of_triplets_that_radgraph_gave(inputs):
    row = ("50000001", 0, "pneumothorax", "pleural_unspec", "absent", 0, 1)
    table = pa.Table.from_pylist([dict(zip(TRIPLETS.names, row, strict=True))], schema=TRIPLETS)
    pq.write_table(table, inputs["triplets"])
    labels, unlabelled = report_labels.compute(Work(None, inputs, {}))
    assert labels["study_id"].to_pylist() == ["50000002", "50000001"]
    assert unlabelled["study_id"].to_pylist() == ["50000003"]
