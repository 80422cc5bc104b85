"""The knowledge asset as a real Dagster run: what it writes, a user's own findings, and a mistake in their file."""

from __future__ import annotations

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.reports import knowledge
from assets.workspace import WorkspaceResource
from store.digests import file_digest

HEADER = "kind,name,aliases,description,source\n"


@pytest.fixture
def workspace(tmp_path):
    """A home of its own."""
    return WorkspaceResource(home=str(tmp_path / "home"))


def materialize(workspace, descriptions=""):
    config = {"ops": {"knowledge": {"config": {"descriptions": str(descriptions)}}}}
    result = dg.materialize([knowledge], resources={"workspace": workspace}, run_config=config, raise_on_error=False)
    if not result.success:
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        return failed.step_failure_data.user_failure_data.description
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items() if hasattr(value, "value")}


def test_own_findings_can_be_asked_for_and_change_no_training(workspace, tmp_path):
    plain = materialize(workspace)
    folder = workspace.plain().folder("knowledge")
    book = file_digest(folder / "knowledge.parquet")
    (tmp_path / "own.csv").write_text(HEADER + "unseen,zebra_lung,striped lung,White stripes across both lungs.,own\n")
    own = materialize(workspace, tmp_path / "own.csv")
    unseen = pq.read_table(folder / "unseen.parquet").to_pylist()
    assert unseen[-1] == {
        **{"kind": "unseen", "name": "zebra_lung", "description": "White stripes across both lungs."},
        **{"source": "own", "aliases": ["striped lung"]},
    }
    assert file_digest(folder / "knowledge.parquet") == book
    assert own["version"] != plain["version"]
    assert own["dagster/row_count"] == plain["dagster/row_count"] == 126


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEADER + "unseen,effusion,,White.,own\n", "row 2, column `name`: `effusion` is there already"),
        (None, "own.csv cannot be read (No such file or directory)"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(workspace, tmp_path, text, sentence):
    if text:
        (tmp_path / "own.csv").write_text(text)
    assert sentence in materialize(workspace, tmp_path / "own.csv")
    assert not (workspace.plain().folder("knowledge") / "knowledge.parquet").exists()
