"""Our parse as a RadGraph file, made by a real run, and read back as a source of triplets."""

from __future__ import annotations

from dataclasses import asdict

import dagster as dg
import pyarrow as pa
import pytest

from assets.reports import graphs
from assets.workspace import WorkspaceResource
from ingestion.tables.exports import GRAPHS_FILE
from pipelines.definitions import defs
from report_parsing.radgraph.triplets import triplets_of_file
from report_parsing.reports import parse_report
from report_parsing.tables import REPORTS
from store import batches
from store.batches import Batch, Plan
from store.seals import write_sealed_table


@pytest.fixture
def workspace(tmp_path):
    """A home of its own."""
    return WorkspaceResource(home=str(tmp_path / "home"))


def test_the_file_says_what_the_reports_say(workspace):
    report = "INDICATION: Pneumothorax?\n\nFINDINGS: Small left pleural effusion. No consolidation."
    row = {"cohort": "phantom", "study_id": "s1", **asdict(parse_report(report))}
    folder = workspace.plain().folder("reports")
    write_sealed_table(pa.Table.from_pylist([row], schema=REPORTS), batches.output_path(folder, "1" * 20))
    batches.commit(folder, Plan((Batch("b00000", "1" * 20),), {}))
    result = dg.materialize([graphs], resources={"workspace": workspace})
    assert "| OBS-DA | 1 |" in result.asset_materializations_for_node("graphs")[0].metadata["entities"].value
    table, rejects = triplets_of_file(workspace.plain().folder("graphs") / GRAPHS_FILE)
    said = {(row["study_id"], row["entity"], row["position"], row["exists"]) for row in table.to_pylist()}
    assert said == {
        ("s1", "effusion", "left_pleural", "present"),
        ("s1", "consolidation", "unspecified", "absent"),
    }
    assert rejects == []


def test_no_job_makes_the_file_by_itself():
    for name in defs.get_repository_def().job_names:
        job = defs.get_repository_def().get_job(name)
        if name != "__ASSET_JOB":
            assert dg.AssetKey("graphs") not in job.asset_layer.executable_asset_keys
