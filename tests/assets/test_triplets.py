"""Triplets and labels as real Dagster runs over a batch of reports: what the page shows, and what it must not."""

from __future__ import annotations

import json
from dataclasses import asdict

import dagster as dg
import pyarrow as pa
import pytest

from assets import reports
from assets.workspace import WorkspaceResource
from report_parsing.reports import parse_report
from report_parsing.tables import REPORTS
from report_parsing.vocabulary import CHEXPERT_14
from store import batches
from store.batches import Batch, Plan
from store.seals import write_sealed_table

REPORTS_OF_STUDIES = {
    "1": "FINDINGS: There is a small left effusion. Comparison was made with the earlier film.\n\nIMPRESSION: Edema.",
    "2": "INDICATION: Pneumothorax?\n\nFINDINGS: No pneumothorax. The heart may be enlarged.",
    "3": "FINDINGS: The patient stood upright and still.",
}


@pytest.fixture
def workspace(tmp_path):
    """A home of its own."""
    return WorkspaceResource(home=str(tmp_path / "home"))


def materialize(workspace, **config):
    """Metadata of `triplets` and of `report_labels`."""
    rows = [
        {"cohort": "phantom", "study_id": study, **asdict(parse_report(report))}
        for study, report in REPORTS_OF_STUDIES.items()
    ]
    folder = workspace.plain().folder("reports")
    write_sealed_table(pa.Table.from_pylist(rows, schema=REPORTS), batches.output_path(folder, "1" * 20))
    batches.commit(folder, Plan((Batch("b00000", "1" * 20),), {}))
    result = dg.materialize(
        [reports.triplets, reports.report_labels],
        resources={"workspace": workspace},
        run_config={"ops": {"triplets": {"config": config}}},
    )
    events = {event.asset_key.to_user_string(): event for event in result.get_asset_materialization_events()}
    return [
        {key: plain(value) for key, value in events[name].materialization.metadata.items()}
        for name in ("triplets", "report_labels")
    ]


def plain(value):
    return [record.data for record in value.records] if isinstance(value, dg.TableMetadataValue) else value.value


def test_distributions_and_examples_of_a_simulated_cohort(workspace):
    shown, _ = materialize(workspace)
    entities = {row["entity"]: row for row in shown["entities"]}
    assert entities["effusion"] == {"entity": "effusion", "triplets": 1, "present": 1, "uncertain": 0, "absent": 0}
    assert entities["pneumothorax"]["absent"] == 1
    assert entities["cardiomegaly"]["uncertain"] == 1
    assert {row["position"] for row in shown["positions"]} >= {"left_pleural", "unspecified"}
    assert (shown["sentences"], shown["share of sentences with no triplet"]) == (6, pytest.approx(2 / 6))
    assert shown["example sentences"][0] == {
        "study_id": "1",
        "text": "There is a small left effusion.",
        "triplets": "effusion @ left_pleural = present",
    }
    silent = {row["text"] for row in shown["examples with no triplet"]}
    assert silent == {"Comparison was made with the earlier film.", "The patient stood upright and still."}


@pytest.mark.parametrize("allowed", [False, True])
def test_text_of_a_real_cohort_is_shown_only_where_the_user_allows_it(workspace, allowed):
    shown, labels = materialize(WorkspaceResource(home=workspace.home, cohort="mimic_cxr", show_text=allowed))
    assert ("example sentences" in shown) is allowed
    assert ("stood upright" in str([shown, labels])) is allowed


def test_every_study_has_its_labels(workspace):
    _, shown = materialize(workspace)
    table = batches.read_batches(workspace.plain().folder("report_labels"))
    assert table.column_names == ["study_id", *CHEXPERT_14]
    rows = {row["study_id"]: row for row in table.to_pylist()}
    assert (rows["1"]["Pleural Effusion"], rows["1"]["Edema"]) == (1, 1)
    assert (rows["2"]["Pneumothorax"], rows["2"]["Cardiomegaly"], rows["2"]["No Finding"]) == (0, -1, None)
    assert rows["3"]["No Finding"] == 1
    assert "| Pneumothorax | 0 | 0 | 1 | 2 |" in shown["labels"]


def test_a_radgraph_file_takes_the_parsers_place(workspace, tmp_path):
    entities = {
        "1": {"tokens": "pleural", "label": "ANAT-DP", "start_ix": 0, "end_ix": 0, "relations": []},
        "2": {"tokens": "effusion", "label": "OBS-U", "start_ix": 1, "end_ix": 1, "relations": [["located_at", "1"]]},
    }
    graph = {"text": "pleural effusion", "data_source": "ours", "data_split": "train", "entities": entities}
    path = tmp_path / "graphs.json"
    path.write_text(json.dumps({"p10/p1/s1.txt": graph, "p10/p1/s9.txt": graph, "p10/p1/s2.txt": {"text": ""}}))
    shown, _ = materialize(workspace, radgraph=str(path))
    rows = batches.read_batches(workspace.plain().folder("triplets")).to_pylist()
    assert [(row["study_id"], row["entity"], row["exists"]) for row in rows] == [("1", "effusion", "uncertain")]
    assert (shown["studies"], shown["studies with no triplet"]) == (3, 2)
    assert shown["unusable graphs"] == 1
    assert "sentences" not in shown
    with pytest.raises(dg.Failure, match=r"no RadGraph file .*lost\.json.*own parser"):
        materialize(workspace, radgraph=str(tmp_path / "lost.json"))
