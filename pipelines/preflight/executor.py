"""Checks a run before another executor takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from pipelines.identity import describe_run, introduce, workspace_of
from pipelines.preflight.check import check_run
from pipelines.wrapping import WrappingExecutor
from store.errors import sentence_of

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan


class CheckedExecutor(WrappingExecutor):
    """Ends a run that cannot succeed with one sentence, before its first step."""

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """The events of the other executor."""
        nodes = {handle.to_key().split(".")[0] for handle in execution_plan.step_handles_to_execute}
        try:
            check_run(nodes, plan_context.run_config, plan_context.run_tags, plan_context.log.warning)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            raise dg.Failure(sentence, allow_retries=False) from None
        place = workspace_of(plan_context.run_config)
        plan_context.instance.add_run_tags(plan_context.run_id, describe_run(place, nodes))
        plan_context.log.info(introduce(place))
        yield from self.inner.execute(plan_context, execution_plan)
