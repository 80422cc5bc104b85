"""Checks a run before another executor takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.networks.dead_runs import HOST_TAG, this_host
from pipelines.executors.wrapping import WrappingExecutor
from pipelines.identity import describe_run, introduce, with_partition, workspace_of
from pipelines.preflight.check import check_run
from store.errors import sentence_of

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

# Dagster's page of a job lists the runs with this tag, which a run of the command line lacks.
REPOSITORY, LABEL = ".dagster/repository", "__repository__@radalign"  # its location in workspace.yaml


class CheckedExecutor(WrappingExecutor):
    """Ends a run that cannot succeed with one sentence, before its first step."""

    def __init__(
        self, inner: dg.Executor, prepare: Callable[[PlanOrchestrationContext, ExecutionPlan], None] | None = None
    ) -> None:
        """`prepare` raises a `UserError` where the other executor cannot do its work."""
        super().__init__(inner)
        self._prepare = prepare

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """The events of the other executor."""
        nodes = {handle.to_key().split(".")[0] for handle in execution_plan.step_handles_to_execute}
        try:
            config = with_partition(plan_context.run_config, plan_context.run_tags)
            check_run(nodes, config, plan_context.run_tags, plan_context.log.warning)
            if self._prepare:
                self._prepare(plan_context, execution_plan)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            raise dg.Failure(sentence, allow_retries=False) from None
        place = workspace_of(config)
        about = {**describe_run(place, nodes), HOST_TAG: this_host()}
        _tag(plan_context, {REPOSITORY: LABEL, **plan_context.run_tags, **about})
        plan_context.log.info(introduce(place))
        yield from self.inner.execute(plan_context, execution_plan)


def _tag(plan_context: PlanOrchestrationContext, tags: dict[str, str]) -> None:
    """Tag the run in the history, from which processes of steps read it, and in this process.

    `dagster job execute` names no partition: it follows from the run config and the environment, which are known here.
    """
    plan_context.instance.add_run_tags(plan_context.run_id, tags)
    data = plan_context.plan_data
    plan_context._plan_data = data._replace(dagster_run=data.dagster_run.with_tags(tags))
