"""Where the steps of a run go: this process, unless the run config names another executor.

Dagster's own default starts a process per step, each of which pays for its imports again.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import dagster as dg

from pipelines.preflight.executor import CheckedExecutor
from pipelines.writers import WaitingExecutor

# Offered where their package is installed: name in the run config -> module, executor.
OPTIONAL = {
    "ray": ("dagster_ray", "ray_executor"),
    "dask": ("dagster_dask", "dask_executor"),
    "k8s": ("dagster_k8s", "k8s_job_executor"),
}
IN_PROCESS = "in_process"


def available() -> dict[str, dg.ExecutorDefinition]:
    """Executors by the name that a run config chooses them with."""
    found = {IN_PROCESS: dg.in_process_executor, "multiprocess": dg.multiprocess_executor}
    for name, (module, executor) in OPTIONAL.items():
        if find_spec(module):
            found[name] = getattr(import_module(module), executor)
    return found


def choice_of(executors: dict[str, dg.ExecutorDefinition], default: str = IN_PROCESS) -> dg.ExecutorDefinition:
    """An executor that is whichever of `executors` the run config names, with that one's own settings."""
    schema = dg.Field(
        dg.Selector({name: executor.config_schema.as_field() for name, executor in executors.items()}),
        default_value={default: {}},
        description="in_process: all steps in the process of the run. multiprocess: a process per step.",
    )

    def requirements(config: Mapping[str, Any]) -> Any:
        ((name, settings),) = config.items()
        return executors[name].get_requirements(settings)

    @dg.executor(name="choice", config_schema=schema, requirements=requirements)
    def choose(context: dg.InitExecutorContext) -> dg.Executor:
        ((name, settings),) = context.executor_config.items()
        chosen = executors[name]
        assert chosen.executor_creation_fn is not None
        inner = chosen.executor_creation_fn(
            context._replace(executor_def=chosen, executor_config=settings)  # type: ignore[arg-type]
        )
        return CheckedExecutor(WaitingExecutor(inner))

    return choose


in_process_by_default = choice_of(available())
