"""Sends each step where it is executed: a batch to the engine, every other step to this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext

from pipelines.cluster.contexts import WorkerContext
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.steps import is_batch
from pipelines.cluster.worker import find_sentence

if TYPE_CHECKING:
    from dagster import DagsterEvent
    from dagster._core.definitions.reconstruct import ReconstructableJob

    from pipelines.cluster.engine import Engine

T = TypeVar("T")
AGAIN_SECONDS = 2.0  # between two tries to reach a cluster that does not answer
GRACE_SECONDS = 30.0  # in which the last event of a worker that has ended comes home


class Router(StepHandler):
    """The steps of a run that go on, here and on workers."""

    def __init__(self, engine: Engine, environment: Mapping[str, str]) -> None:
        """`environment` is what workers get."""
        super().__init__()
        self._engine, self._environment = engine, environment
        self.open: dict[str, StepHandlerContext] = {}  # steps that were started and have not ended
        self.sentences: dict[str, str] = {}  # of workers that differ from the run, by step
        self.failure: ClusterError | None = None  # that ends the run
        self._ended: dict[str, float] = {}  # workers without a last event -> since when they are seen to be over
        self._silent = 0.0  # since when the cluster does not answer; 0: it answers

    @property
    def name(self) -> str:
        """For Dagster's log."""
        return type(self._engine.handler).__name__

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Execute a step here, or start a worker for it."""
        (key,) = step_handler_context.execute_step_args.step_keys_to_execute or ()
        self._ended.pop(key, None)
        if not is_batch(key):
            self.open[key] = step_handler_context
            execute_here(step_handler_context, key)
            return
        worker = WorkerContext(step_handler_context, self._engine.command, self._environment)
        self.open[key] = worker
        yield from self._reach(lambda: list(self._engine.handler.launch_step(worker)))

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the worker of a step still works. Steps of this process do."""
        (key,) = step_handler_context.execute_step_args.step_keys_to_execute or ()
        worker = self.open.get(key)
        if not isinstance(worker, WorkerContext):
            return CheckStepHealthResult.healthy()
        try:
            found = self._engine.handler.check_step_health(worker)
            if found.is_healthy and self._engine.has_ended(worker) and self._overdue(key):
                found = CheckStepHealthResult.unhealthy(f"The worker of {key} ended without a result.")
            if not found.is_healthy:
                printed = f"{found.unhealthy_reason or ''}\n{self._engine.read_output(worker)}"
                if sentence := find_sentence(printed):
                    self.sentences[key] = sentence
        except self._engine.unreachable as error:
            self._note_silence(error)
            return CheckStepHealthResult.healthy()
        self._silent = 0.0
        return found

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """End the worker of a step, as far as the cluster answers."""
        (key,) = step_handler_context.execute_step_args.step_keys_to_execute or ()
        worker = self.open.pop(key, None)
        if isinstance(worker, WorkerContext):
            try:
                yield from self._engine.handler.terminate_step(worker)
            except Exception as error:  # the run ends all the same
                worker._plan_context.log.warning(f"The worker of {key} could not be ended: {error}")

    def terminate_all(self) -> None:
        """End every worker that still works."""
        for context in list(self.open.values()):
            list(self.terminate_step(context))

    def _overdue(self, key: str) -> bool:
        return time.monotonic() - self._ended.setdefault(key, time.monotonic()) > GRACE_SECONDS

    def _reach(self, call: Callable[[], list[T]]) -> list[T]:
        """What a call gives; it is tried again while the cluster does not answer."""
        while True:
            try:
                found = call()
            except self._engine.unreachable as error:
                self._note_silence(error)
                if self.failure:
                    raise self.failure from None
                time.sleep(AGAIN_SECONDS)
            else:
                self._silent = 0.0
                return found

    def _note_silence(self, error: Exception) -> None:
        now = time.monotonic()
        if not self._silent:
            self._silent = now
            log = next(iter(self.open.values()))._plan_context.log
            log.warning(f"{self._engine.name} does not answer; waiting for it, at most {self._engine.patience:.0f} s.")
        elif now - self._silent > self._engine.patience:
            self.failure = ClusterError(
                f"{self._engine.name} has not answered for {self._engine.patience:.0f} s: start it, and give the same "
                "command again, which goes on where it was."
            )


def execute_here(context: StepHandlerContext, key: str) -> None:
    """Execute a step in this process, as a worker would in its own; its events go into the history."""
    plan_context, args = context._plan_context, context.execute_step_args
    job: ReconstructableJob = plan_context.reconstructable_job
    run = plan_context.dagster_run
    plan = create_execution_plan(
        job, run_config=run.run_config, step_keys_to_execute=[key], known_state=args.known_state
    )
    for _ in execute_plan_iterator(
        plan, job, run, context.instance, retry_mode=args.retry_mode, run_config=run.run_config
    ):
        pass
