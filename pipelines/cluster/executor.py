"""Executes a run whose batches go to a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.events import DagsterEvent, StepFailureData, StepRetryData
from dagster._core.execution.plan.objects import UserFailureData
from dagster._core.execution.step_dependency_config import StepDependencyConfig
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from pipelines.cluster.conditions import CONDITIONS, Conditions, database, sent_environment, state_conditions
from pipelines.cluster.contexts import CheckContext
from pipelines.cluster.errors import ClusterError, WorkerError
from pipelines.cluster.handovers import forget
from pipelines.cluster.relay import Relay
from pipelines.cluster.router import Router
from pipelines.cluster.worker import find_sentence
from pipelines.identity import with_partition, workspace_of
from store.errors import UserError
from store.home import home_at
from store.remote.mirror import keeper_of
from tracking.places.postgres import EXAMPLE, HISTORY_VARIABLE

if TYPE_CHECKING:
    from dagster._core.execution.context.system import IStepContext, PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.state import KnownExecutionState
    from dagster._core.execution.retries import RetryMode
    from dagster._utils.error import SerializableErrorInfo

    from pipelines.cluster.engine import Engine

POLL_SECONDS = 0.3
HEALTH_SECONDS = 5
TRIES = 4  # of a batch whose worker is lost
CHECK_SECONDS = 180.0  # for the check of all machines
ENDED = (
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
)


class ClusterExecutor(dg.Executor):
    """The executor of the run config's `ray` or `k8s`."""

    def __init__(self, connect: Callable[[], Engine], retries: RetryMode) -> None:
        """`connect` gives the cluster, or raises ClusterError where there is none."""
        self._connect, self._retries = connect, retries
        self._engine: Engine | None = None
        self._conditions: Conditions | None = None

    @property
    def retries(self) -> RetryMode:
        """Of steps that fail."""
        return self._retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """Dagster's own."""
        return StepDependencyConfig.default()

    def prepare(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> None:
        """Reach the cluster and check its machines, before anything is done.

        Raises:
            ClusterError: it cannot run the batches of this run.
        """
        self._engine = engine = self._connect()
        if engine.is_elsewhere() and not database():
            raise ClusterError(
                f"{engine.name} has workers on other machines, and the history of runs lies in SQLite, which several "
                f"machines cannot write: set {HISTORY_VARIABLE} to a database such as "
                f"{EXAMPLE.format(name='dagster')}, here and where the workers are started."
            )
        home = workspace_of(with_partition(plan_context.run_config, plan_context.run_tags)).home_path()
        self._conditions = state_conditions(home, plan_context.run_id)
        check_machines(engine, self._environment(), plan_context, execution_plan)

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[Any]:
        """The events of the run."""
        assert self._engine is not None
        router, failed = Router(self._engine, self._environment()), False
        inner = _Delegating(router, self._engine.max_concurrent, self._retries)
        try:
            for event in inner.execute(plan_context, execution_plan):
                failed |= event.is_failure
                yield event
            if not failed:
                self._forget(plan_context)
        except ClusterError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        finally:
            router.terminate_all()

    def _forget(self, plan_context: PlanOrchestrationContext) -> None:
        """Remove what steps handed to each other through a store."""
        assert self._conditions is not None
        if keeper := keeper_of(home_at(self._conditions.home)):
            with suppress(UserError):  # a store that is away keeps some small objects
                forget(keeper.objects, plan_context.run_id)

    def _environment(self) -> dict[str, str]:
        assert self._conditions is not None
        return {**sent_environment(), CONDITIONS: self._conditions.to_json()}


class _Delegating(StepDelegatingExecutor):
    """Dagster's executor of steps that are started elsewhere, with batches tried again whose worker is lost."""

    def __init__(self, router: Router, max_concurrent: int | None, retries: RetryMode) -> None:
        super().__init__(
            router,
            retries,
            sleep_seconds=POLL_SECONDS,
            check_step_health_interval_seconds=HEALTH_SECONDS,
            max_concurrent=max_concurrent,
        )
        self._router, self._relay = router, Relay()

    def _pop_events(self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]) -> list[DagsterEvent]:
        """The new events in the history, without those of a worker that was given up and worked all the same."""
        if self._router.failure:
            raise self._router.failure
        self._relay.show(instance, run_id)
        return [event for event in super()._pop_events(instance, run_id, seen_storage_ids) if self._counts(event)]

    def _counts(self, event: DagsterEvent) -> bool:
        key = event.step_key
        if key is None or event.is_step_skipped:
            return True
        known = key in self._router.open
        if event.event_type in ENDED:
            self._router.open.pop(key, None)
        return known

    def log_failure_or_retry_event_after_error(
        self, step_context: IStepContext, err_info: SerializableErrorInfo, known_state: KnownExecutionState
    ) -> DagsterEvent:
        """A worker was lost: its batch is tried again, unless its machine differs from that of the run."""
        key = step_context.step.key
        if sentence := self._router.sentences.pop(key, ""):
            said = UserFailureData(label="worker", description=sentence, metadata={})
            return DagsterEvent.step_failure_event(step_context, StepFailureData(err_info, said))
        if known_state.get_retry_state().get_attempt_count(key) + 1 < TRIES:
            step_context.log.warning(f"The worker of {key} is lost; the batch is given to another one.")
            return DagsterEvent.step_retry_event(step_context, StepRetryData(error=err_info, seconds_to_wait=0))
        return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)


def check_machines(
    engine: Engine, environment: dict[str, str], plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
) -> None:
    """Raise ClusterError where a machine lacks what the run has; all are asked at once."""
    step = execution_plan.get_step_by_key(execution_plan.step_keys_to_execute[0])
    asked = {}
    try:
        for number, (place, handler) in enumerate(engine.places().items()):
            context = CheckContext(plan_context, f"check-{number}", step, engine.command, environment)
            list(handler.launch_step(context))
            asked[place] = (handler, context)
        plan_context.log.info(f"{engine.name}: checking {len(asked)} machine{'s' * (len(asked) != 1)}")
        deadline = time.monotonic() + CHECK_SECONDS
        while asked:
            for place, (handler, context) in list(asked.items()):
                health = handler.check_step_health(context)
                if not health.is_healthy:
                    printed = f"{health.unhealthy_reason or ''}\n{engine.read_output(context)}"
                    raise WorkerError(find_sentence(printed) or _explain(place, printed))
                if engine.has_ended(context):
                    del asked[place]
            if time.monotonic() > deadline:
                waits = next(filter(None, (engine.read_waiting(context) for _, context in asked.values())), "")
                raise ClusterError(
                    f"{engine.name} has not started a worker on {', '.join(asked)} in {CHECK_SECONDS:.0f} s"
                    + (f" ({waits}): correct that." if waits else ": see whether it has free CPUs and memory there.")
                )
            time.sleep(POLL_SECONDS)
    except engine.unreachable as error:
        raise ClusterError(
            f"{engine.name} has stopped answering while its machines were checked ({type(error).__name__}): give the "
            "same command again when it answers."
        ) from None
    finally:
        for handler, context in asked.values():
            with suppress(Exception):  # the sentence of the first that failed counts
                list(handler.terminate_step(context))


def _explain(place: str, printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    if any("No module named" in line or "not found" in line for line in lines):
        return (
            f"The worker on {place} cannot start Radalign ({lines[-1][-200:]}): set up the same checkout there "
            "(`make setup`), and start its workers in that environment (`. ./activate`)."
        )
    return f"The worker on {place} ended before it began: {lines[-1][-300:] if lines else 'it printed nothing'}."
