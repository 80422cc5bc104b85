"""Runs that write the tables of one dataset wait for each other, whatever processes their steps run in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg

from ingestion.versions import living, writing_one
from pipelines.catalogue import ASSETS, CHECKS, WRITING
from pipelines.executors.wrapping import WrappingExecutor
from pipelines.identity import with_partition, workspace_of

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

    from ingestion.workspace import Workspace

OWN = ""  # the dataset of the run itself
ENDED = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SKIPPED)


class WaitingExecutor(WrappingExecutor):
    """Executes a run with another executor, and holds each dataset from the start to the last step that writes it.

    The process of the run holds the locks. The steps may be processes of their own.
    """

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """The events of the other executor."""
        place = workspace_of(with_partition(plan_context.run_config, plan_context.run_tags))
        left = _steps_by_dataset(place, execution_plan)
        with ExitStack() as rest:
            rest.enter_context(living(place.home_path(), plan_context.run_id))
            locks = {}
            for name in sorted(left):  # in one order: no two runs wait for each other
                locks[name] = rest.enter_context(ExitStack())
                locks[name].enter_context(writing_one(place.home_path(), name, plan_context.log.info))
            for event in self.inner.execute(plan_context, execution_plan):
                yield event
                if event.event_type in ENDED:
                    for name, steps in left.items():
                        steps.discard(event.step_key)
                        if not steps:
                            locks[name].close()


def _steps_by_dataset(place: Workspace, execution_plan: ExecutionPlan) -> dict[str, set[str]]:
    """Dataset -> the steps that write its tables. A run itself writes a dataset, or a pool and its members."""
    own = {place.cohort_name(), *(member.cohort_name() for member in place.members())}
    found: dict[str, set[str]] = {}
    for name, keys in group_steps(handle.to_key() for handle in execution_plan.step_handles_to_execute).items():
        for dataset in own if name == OWN else [name]:
            found.setdefault(dataset, set()).update(keys)
    return found


def group_steps(keys: Iterable[str]) -> dict[str, set[str]]:
    """Dataset, or OWN -> the steps that write its tables. Steps per batch, which lie between others, are left out."""
    found: dict[str, set[str]] = {}
    for key in keys:
        dataset = _written_by().get(key.split(".")[0])
        if dataset is not None and "[" not in key:
            found.setdefault(dataset, set()).add(key)
    return found


@cache
def _written_by() -> dict[str, str]:
    """Name of the node of an asset or a check -> the dataset whose tables it writes, or reads while they change."""
    found = {check.node_def.name: OWN for check in CHECKS}
    for asset in ASSETS:
        if set(asset.group_names_by_key.values()) <= set(WRITING):
            found[asset.node_def.name] = OWN
        elif asset.key.path[0] == "dataset":
            found[asset.node_def.name] = asset.key.path[-1]
    return found
