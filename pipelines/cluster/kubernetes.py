"""Kubernetes: workers are jobs in pods of their own, through dagster-k8s."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import urllib3
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext
from dagster_k8s import k8s_job_executor
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError
from kubernetes.client.rest import ApiException
from kubernetes.config import ConfigException

from assets.networks.launchers.kubernetes import wrong_fields
from pipelines.cluster.errors import ClusterError
from pipelines.executors.choice import create

if TYPE_CHECKING:
    import dagster as dg
    from dagster import DagsterEvent
    from dagster_k8s.executor import K8sStepHandler

IN_POD = "KUBERNETES_SERVICE_HOST"  # in the environment of every pod
TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
PODS_AT_ONCE = 20
OURS = ("python", "patience_seconds")  # the other settings are dagster-k8s's own


class NoLauncher:
    """In place of the launcher of runs in pods, of which dagster-k8s takes what the run config leaves open: nothing."""

    dagster_home = instance_config_map = postgres_password_secret = job_image = None

    def __bool__(self) -> bool:
        return False


class Pods(StepHandler):
    """dagster-k8s's handler of steps, of a run that a command started."""

    def __init__(self, inner: K8sStepHandler) -> None:
        super().__init__()
        self._inner = inner

    @property
    def name(self) -> str:
        """For Dagster's log."""
        return self._inner.name

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Start the pod of a step, unless it was; ClusterError where the cluster refuses its job."""
        try:
            yield from self._inner.launch_step(_without_launcher(step_handler_context))
        except DagsterK8sUnrecoverableAPIError as error:
            answer: Any = error.k8s_api_exception
            if answer.status != 409:  # the answer to a name that it knows
                said = [f"{answer.status} {answer.reason}", *wrong_fields(answer)]
                raise ClusterError(
                    f"Kubernetes refuses the job of a worker ({', '.join(said)}): see "
                    "whether the namespace is there, and correct the fields of execution.config.k8s or the rights of "
                    "the account (configs/cluster/kubernetes/account.yaml)."
                ) from None

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the pod of a step works."""
        return self._inner.check_step_health(_without_launcher(step_handler_context))

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """End the pod of a step."""
        return self._inner.terminate_step(_without_launcher(step_handler_context))


def _without_launcher(context: StepHandlerContext) -> StepHandlerContext:
    changed = copy(context)
    changed._instance = SimpleNamespace(run_launcher=NoLauncher())  # type: ignore[assignment]
    return changed


class KubernetesEngine:
    """A namespace of a Kubernetes cluster whose API answers."""

    unreachable: tuple[type[Exception], ...] = (
        urllib3.exceptions.HTTPError,
        ConnectionError,
        DagsterK8sAPIRetryLimitExceeded,
    )

    def __init__(self, context: dg.InitExecutorContext) -> None:
        """The settings are those of dagster-k8s's `k8s_job_executor`, and `pipelines.executors.choice.KUBERNETES`.

        Raises:
            ClusterError: the API does not answer, or does not let this run start jobs.
        """
        given: Mapping[str, Any] = context.executor_config
        self.namespace = str(given.get("job_namespace") or "default")
        self.patience = float(given["patience_seconds"])
        self.max_concurrent: int | None = given["max_concurrent"] or PODS_AT_ONCE
        self.command: Sequence[str] = [given["python"], "-m", "pipelines.cluster.worker"]
        own = {name: value for name, value in given.items() if name not in OURS and value is not None}
        own.setdefault("load_incluster_config", IN_POD in os.environ)
        self._handler = _make_handler(context, {**own, "job_namespace": self.namespace})
        self.handler: StepHandler = Pods(self._handler)
        self._api = self._handler._api_client
        for one in (self._api.batch_api, self._api.core_api):
            client = one.api_client.rest_client
            client.request = _bounded(client.request)
        self.name = f"Kubernetes at {self._api.batch_api.api_client.configuration.host}"
        self._expect_rights()

    def places(self) -> dict[str, StepHandler]:
        """A pod: all have the same image."""
        return {"Kubernetes": self.handler}

    def is_elsewhere(self) -> bool:
        """A pod is a machine of its own."""
        return True

    def has_ended(self, context: StepHandlerContext) -> bool:
        """Whether the job of a step is over."""
        status = self._api.get_job_status(namespace=self.namespace, job_name=self._job(context))
        return status is None or bool(status.succeeded or status.failed)

    def read_output(self, context: StepHandlerContext) -> str:
        """What the pod of a step printed, as far as it is still there."""
        with suppress(ApiException):
            pods = self._api.get_pod_names_in_job(self._job(context), self.namespace)
            return "\n".join(str(self._api.retrieve_pod_logs(pod, self.namespace)) for pod in pods)
        return ""

    def read_waiting(self, context: StepHandlerContext) -> str:
        """Why the pod of a step does not run, such as an image that cannot be pulled."""
        with suppress(ApiException, *self.unreachable):
            label = f"job-name={self._job(context)}"
            for pod in self._api.core_api.list_namespaced_pod(self.namespace, label_selector=label).items:
                for one in (pod.status and pod.status.container_statuses) or ():
                    if one.state and one.state.waiting:
                        return f"{one.state.waiting.reason} of {one.image}"
        return ""

    def _job(self, context: StepHandlerContext) -> str:
        return str(self._handler._get_k8s_step_job_name(context))

    def _expect_rights(self) -> None:
        try:
            self._api.batch_api.list_namespaced_job(self.namespace, limit=1)
        except ApiException as error:
            raise ClusterError(
                f"{self.name} does not let this run use jobs in the namespace {self.namespace} ({error.status} "
                f"{error.reason}): give its account the rights of configs/cluster/kubernetes/account.yaml."
            ) from None
        except self.unreachable as error:
            raise ClusterError(
                f"{self.name} does not answer ({type(error).__name__}): see whether the address in the kubeconfig is "
                "right and the cluster is up (`kubectl get jobs`)."
            ) from None


def _make_handler(context: dg.InitExecutorContext, settings: Mapping[str, Any]) -> K8sStepHandler:
    if not settings.get("job_image"):
        raise ClusterError(
            "execution.config.k8s.job_image names no image: build one of this checkout (`docker build`), push it to a "
            "registry that the cluster reads, and name it there."
        )
    try:
        found = create(k8s_job_executor, context, settings)
    except ConfigException as error:
        raise ClusterError(
            f"There is no access to Kubernetes here ({str(error).rstrip('.')}): name a kubeconfig in "
            "execution.config.k8s.kubeconfig_file, or start the run in a pod of the cluster."
        ) from None
    handler: K8sStepHandler = found._step_handler  # type: ignore[attr-defined]
    return handler


def _bounded(request: Callable[..., Any]) -> Callable[..., Any]:
    """Do not wait for ever for a cluster that was cut off."""

    def call(*args: Any, _request_timeout: Any = None, **kwargs: Any) -> Any:
        return request(*args, _request_timeout=_request_timeout or TIMEOUT_SECONDS, **kwargs)

    return call
