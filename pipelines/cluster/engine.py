"""What starts workers on other machines: Ray, Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dagster._core.executor.step_delegating import StepHandler, StepHandlerContext


class Engine(Protocol):
    """A cluster that answers."""

    name: str  # as a sentence names it, with its address
    handler: StepHandler  # of Dagster's integration: starts a step, looks after it, ends it
    command: Sequence[str]  # starts `pipelines.cluster.worker` there
    max_concurrent: int | None  # steps at once
    patience: float  # seconds for which a cluster that does not answer any more is waited for
    unreachable: tuple[type[Exception], ...]  # what the handler raises where the cluster does not answer

    def places(self) -> Mapping[str, StepHandler]:
        """Name -> what starts a worker there, of each place that is checked before a run."""
        ...

    def is_elsewhere(self) -> bool:
        """Whether workers run on other machines than this one."""
        ...

    def has_ended(self, context: StepHandlerContext) -> bool:
        """Whether the worker of a step is over, well or not."""
        ...

    def read_output(self, context: StepHandlerContext) -> str:
        """The last of what the worker of a step printed; empty where that is gone."""
        ...

    def read_waiting(self, context: StepHandlerContext) -> str:
        """Why the worker of a step has not begun, as the cluster says it; empty where it does not."""
        ...
