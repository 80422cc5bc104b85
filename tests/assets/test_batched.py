"""However large an archive is, Dagster holds a bounded number of steps, and a second run computes nothing."""

from __future__ import annotations

import dagster as dg
import pytest

from assets import batched
from assets.batched import MOST_STEPS, group_batches
from ingestion import stage
from ingestion.pipeline import REPORTS, STAGES
from ingestion.workspace import Workspace
from pipelines.definitions import defs
from store import batches
from store.batches import Batch, Plan
from store.errors import DamageError

GROUPS = 3
STUDIES = 12


@pytest.mark.parametrize("count", [0, 1, 2, MOST_STEPS, MOST_STEPS + 1, 10_000, 62_500])
def test_groups_are_bounded_and_hold_each_batch_once_in_order(count):
    groups = list(group_batches(range(count)))
    assert len(groups) <= MOST_STEPS
    assert [batch for _, group in groups for batch in group] == list(range(count))
    assert [first for first, _ in groups] == [group[0] for _, group in groups]
    assert len({len(group) for _, group in groups[:-1]}) <= 1


def test_a_run_of_many_batches_has_few_steps_and_a_second_one_none(tmp_path, monkeypatch):
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.setattr(batched, "MOST_STEPS", GROUPS)
    first, second = (ingest(tmp_path) for _ in range(2))
    for one in STAGES:
        mapped = sorted(key for key in first if key.startswith(f"{one.name}.{one.name}_batch["))
        assert [key.partition("[")[2] for key in mapped] == ["b00000]", "b00004]", "b00008]"]
        assert len(batches.read_plan(tmp_path / "phantom" / one.name).batches) == STUDIES
    assert not [key for key in second if "[" in key]


def ingest(home):
    """The steps of a run of the job `ingest` with a batch for each study."""
    config = {
        "ops": {
            "archive": {"config": {"studies": STUDIES, "height": 64}},
            "inventory": {"config": {"batch_size": 1}},
            "images": {"config": {"size": 32}},
        },
        "resources": {"workspace": {"config": {"home": str(home), "cohort": "phantom"}}},
    }
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("ingest").execute_in_process(
            run_config=config, instance=instance, partition_key="phantom"
        )
        assert result.success
        return {event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}


def test_a_plan_is_made_again_and_another_one_is_said(tmp_path):
    place = Workspace(home=str(tmp_path), cohort="phantom")
    cut = Plan((Batch("b00000", "1" * 20, aspects={"texts": "2" * 20}),), {"batch_size": 1})
    batches.commit(place.folder("inventory"), cut)
    planned = stage.plan(REPORTS, place, REPORTS.settings())
    assert stage.plan_again(REPORTS, place, planned.settings, planned.version()) == planned
    batches.commit(place.folder("inventory"), Plan((Batch("b00000", "3" * 20),), {"batch_size": 1}))
    with pytest.raises(DamageError, match="was changed while the run went on; bring the dataset up to date"):
        stage.plan_again(REPORTS, place, planned.settings, planned.version())
