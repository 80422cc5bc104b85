"""Which datasets a run is audited on: its own, and every other that is ready and has labels to ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cohorts.dataset import ZERO_SHOT
from cohorts.registry import dataset
from evaluation.dataset import EvaluationDataset
from ingestion.pipeline import ABSENT, READY, dataset_state
from ingestion.pooling.build import members_at
from ingestion.pooling.names import members_of
from ingestion.versions import at_version, pinned_state, version_for
from ingestion.workspace import Workspace
from tracking.runs import TrainedRun


def find_datasets(
    home: Workspace, run: TrainedRun, names: Sequence[str], view: str, job: str, log: Callable[[str], object]
) -> tuple[list[EvaluationDataset], list[str]]:
    """The dataset of a run's pretraining, or the members of its pool, and those of `names` that are ready.

    Also why the others are not among them.
    Their images are those of the `view`, one of evaluation.metrics.units.VIEWS.

    They are read in the versions that the Dagster run `job` has pinned, or else in the present ones.
    """
    own = version_for(home, run.data_version, job, run.version, log)
    found, left_out, absent = [EvaluationDataset(member, view=view) for member in members_at(own)], [], []
    for name in [name for name in names if name not in members_of(home.cohort_name())]:
        there, facts = home.downstream(name), dataset(name)
        state = pinned_state(replace(home, cohort=name), job) or dataset_state(home, name)
        if there is None or state["status"] == ABSENT:
            absent.append(name)
        elif state["status"] != READY:
            left_out.append(f"{name} was not audited: {state['note']}")
        elif ZERO_SHOT not in facts.purposes:
            left_out.append(f"{name} was not audited: it has no labels that a network can be asked for in words.")
        else:
            found.append(EvaluationDataset(at_version(there, state.get("version", "")), facts, view))
    if absent:
        left_out.append(f"Not audited, as they are not in this home: {', '.join(absent)}.")
    return found, left_out
