"""Where the steps of a run go: this process, unless the run config names another executor.

Dagster's own default starts a process per step, each of which pays for its imports again. Executors of other packages
are described here and imported when a run chooses them: to load the definitions must not cost seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._config import process_config
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.execution.retries import RetryMode, get_retries_config

from pipelines.executors.writers import WaitingExecutor
from pipelines.preflight.executor import CheckedExecutor
from pipelines.preflight.mistakes import explain_config
from store.errors import SettingError

if TYPE_CHECKING:
    from pipelines.cluster.engine import Engine

IN_PROCESS = "in_process"
SHARED = {
    "retries": get_retries_config(),
    "max_concurrent": dg.Field(
        dg.Noneable(dg.IntSource),
        default_value=None,
        description="Batches at once. Empty: as many as a Ray cluster has CPUs; 20 pods on Kubernetes.",
    ),
    "patience_seconds": dg.Field(
        float, default_value=300.0, description="How long the run waits for a cluster that does not answer any more."
    ),
}
RAY: dict[str, Any] = {
    **SHARED,
    "address": dg.Field(
        dg.StringSource,
        default_value="",
        description="Of the dashboard on the head, such as http://HOST:8265. Empty: RAY_ADDRESS, else port 8265 here.",
    ),
    "python": dg.Field(
        dg.StringSource, default_value="", description="Python on the workers. Empty: the path that it has here."
    ),
    "num_cpus": dg.Field(float, default_value=1.0, description="CPUs of one batch."),
    "memory": dg.Field(dg.Noneable(int), default_value=None, description="Bytes of one batch, for Ray's scheduler."),
    "resources": dg.Field(
        dg.Permissive(), default_value={}, description="Further resources of one batch, as `ray start` names them."
    ),
    "env_vars": dg.Field(
        [str], default_value=[], description="Variables for workers: KEY=VALUE, or KEY as it is here."
    ),
    "runtime_env": dg.Field(dg.Permissive(), default_value={}, description="Ray's runtime_env of a worker."),
}
KUBERNETES: dict[str, Any] = {
    **SHARED,
    "python": dg.Field(dg.StringSource, default_value="python", description="Python in the image."),
}


@dataclass(frozen=True)
class Elsewhere:
    """An executor of a package that is imported when a run chooses it."""

    schema: Any
    make: Callable[[dg.InitExecutorContext], dg.Executor]


def _on_ray(context: dg.InitExecutorContext) -> dg.Executor:
    def connect() -> Engine:
        expect_package("ray", "dagster_ray", "ray")
        from pipelines.cluster.ray import RayEngine

        return RayEngine(context.executor_config)

    return _on_cluster(connect, context)


def _on_kubernetes(context: dg.InitExecutorContext) -> dg.Executor:
    def connect() -> Engine:
        expect_package("k8s", "dagster_k8s", "kubernetes")
        from pipelines.cluster.kubernetes import KubernetesEngine

        return KubernetesEngine(context)

    return _on_cluster(connect, context)


def _on_cluster(connect: Callable[[], Engine], context: dg.InitExecutorContext) -> dg.Executor:
    from pipelines.cluster.executor import ClusterExecutor

    return ClusterExecutor(connect, RetryMode.from_config(context.executor_config["retries"]))  # type: ignore[arg-type]


def _on_dask(context: dg.InitExecutorContext) -> dg.Executor:
    return create(import_module("dagster_dask").dask_executor, context, context.executor_config)


ELSEWHERE = {
    "ray": Elsewhere(dg.Shape(RAY), _on_ray),
    "k8s": Elsewhere(dg.Permissive(KUBERNETES), _on_kubernetes),
    **({"dask": Elsewhere(dg.Permissive(), _on_dask)} if find_spec("dagster_dask") else {}),
}
HERE = {IN_PROCESS: dg.in_process_executor, "multiprocess": dg.multiprocess_executor}


def expect_package(name: str, package: str, extra: str) -> None:
    """Raise SettingError where the package of an executor is not installed."""
    if not find_spec(package):
        raise SettingError(
            f"execution.config.{name} needs packages that are not installed here: run pip install '.[{extra}]' in the "
            "checkout."
        )


def create(
    executor: dg.ExecutorDefinition, context: dg.InitExecutorContext, settings: Mapping[str, Any]
) -> dg.Executor:
    """An executor with its own settings, which are checked against its own schema.

    Raises:
        SettingError: a setting that it does not know.
    """
    checked = process_config(executor.config_schema.config_type, dict(settings))
    if not checked.success:
        wrong = dg.DagsterInvalidConfigError(executor.name, checked.errors or [], settings)
        raise SettingError(f"execution.config.{executor.name}: {explain_config(wrong)}")
    assert executor.executor_creation_fn is not None
    return executor.executor_creation_fn(
        context._replace(executor_def=executor, executor_config=checked.value)  # type: ignore[arg-type]
    )


def choice_of(
    executors: Mapping[str, dg.ExecutorDefinition | Elsewhere], default: str = IN_PROCESS
) -> dg.ExecutorDefinition:
    """An executor that is whichever of `executors` the run config names, with that one's own settings."""
    schema = dg.Field(
        dg.Selector({name: _schema_of(executor) for name, executor in executors.items()}),
        default_value={default: {}},
        description="in_process: all steps in the process of the run. multiprocess: a process per step. ray, k8s: "
        "batches on the machines of a cluster.",
    )

    def requirements(config: Mapping[str, Any]) -> Any:
        ((name, settings),) = config.items()
        executor = executors[name]
        if isinstance(executor, Elsewhere):
            return multiple_process_executor_requirements()
        return executor.get_requirements(settings)

    @dg.executor(name="choice", config_schema=schema, requirements=requirements)
    def choose(context: dg.InitExecutorContext) -> dg.Executor:
        ((name, settings),) = context.executor_config.items()
        chosen = executors[name]
        if isinstance(chosen, Elsewhere):
            inner = chosen.make(context._replace(executor_config=settings))  # type: ignore[arg-type]
        else:
            inner = create(chosen, context, settings)  # type: ignore[arg-type]
        return CheckedExecutor(WaitingExecutor(inner), getattr(inner, "prepare", None))

    return choose


def _schema_of(executor: dg.ExecutorDefinition | Elsewhere) -> Any:
    if isinstance(executor, Elsewhere):
        return dg.Field(executor.schema, is_required=False)
    return executor.config_schema.as_field()


in_process_by_default = choice_of({**HERE, **ELSEWHERE})
