"""An executor around another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.execution.retries import RetryMode


class WrappingExecutor(dg.Executor):
    """Leaves the steps to another executor; a class derived from it says in `execute` what happens around them."""

    def __init__(self, inner: dg.Executor) -> None:
        self.inner = inner

    @property
    def retries(self) -> RetryMode:
        """Whether steps are tried again, as with the other executor."""
        return self.inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """As with the other executor."""
        return self.inner.step_dependency_config
