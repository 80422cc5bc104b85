"""What Dagster's integrations are told of a step, so that they start `pipelines.cluster.worker` for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster._core.executor.step_delegating import StepHandlerContext

from pipelines.cluster.worker import CHECK

if TYPE_CHECKING:
    from dagster._core.execution.context.system import IStepContext, PlanOrchestrationContext
    from dagster._grpc.types import ExecuteStepArgs


class Arguments:
    """The arguments of a step, with another command and more variables."""

    def __init__(self, args: ExecuteStepArgs | None, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._args, self._command, self._environment = args, command, environment

    def __getattr__(self, name: str) -> Any:
        return getattr(self._args, name)

    def get_command_args(self, skip_serialized_namedtuple: bool = False) -> list[str]:
        """The command."""
        return list(self._command)

    def get_command_env(self) -> list[Mapping[str, str]]:
        """Its variables, as Dagster lists them."""
        own = [{"name": name, "value": value} for name, value in self._environment.items()]
        return [*(self._args.get_command_env() if self._args else ()), *own]


class WorkerContext(StepHandlerContext):
    """A step that a worker executes."""

    def __init__(self, step: StepHandlerContext, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.__dict__.update(step.__dict__)
        args = Arguments(step.execute_step_args, [*command, "api", "execute_step"], environment)
        self._execute_step_args = args  # type: ignore[assignment]


class CheckContext(StepHandlerContext):
    """A worker that only checks whether it has what the run has. It executes no step; events show `step`."""

    def __init__(
        self,
        plan_context: PlanOrchestrationContext,
        name: str,
        step: Any,
        command: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        args = CheckArguments(None, [*command, CHECK], environment)
        args.step_keys_to_execute, args.run_id, args.known_state = [name], plan_context.run_id, None
        run = plan_context.dagster_run
        super().__init__(plan_context.plan_data.instance, plan_context, [step], args, run)  # type: ignore[arg-type]
        self._name, self._step = name, step

    @property
    def step_tags(self) -> Mapping[str, Mapping[str, str]]:
        """None."""
        return {self._name: {}}

    def get_step_context(self, step_key: str) -> IStepContext:
        """Of the step that events show."""
        return self._plan_context.for_step(self._step)


class CheckArguments(Arguments):
    """The arguments of no step."""

    step_keys_to_execute: Sequence[str]
    run_id: str
    known_state: None
