"""A training as an indexed Job of Kubernetes: one pod for each machine, which meet at the first one's name.

Messages and logs come home through the pods' logs. The Job is deleted when the training has ended, however it ended; if
this step runs in a pod of the cluster, it owns the Job, which then goes with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.networks.launchers.common import (
    STOP_SECONDS,
    LaunchedTrainingError,
    LauncherError,
    closing_once,
    command_for,
    environment_of,
    heartbeat_file,
)
from assets.networks.launchers.settings import KubernetesSettings
from models.run_files import RESULT
from store.remote import mirror
from training.parallel.heartbeat import beating

if TYPE_CHECKING:
    from kubernetes import client
    from kubernetes.client import ApiException

LABEL = "radalign/run"  # of everything that belongs to one training
ANSWER_SECONDS = (5, 30)  # to connect to the API, and for its answer
AWAY_SECONDS = 300.0  # for which an API that does not answer is waited for: the training goes on meanwhile
WORKDIR_GRACE = 60  # seconds for a pod to write its checkpoint and end
HOPELESS = (
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "SignatureValidationFailed",
    "CreateContainerConfigError", "CreateContainerError",
)  # fmt: skip
REMEDIES = {  # by the status of an answer
    401: "log in to the cluster again, or correct `kubeconfig`",
    403: "give its account the rights of configs/cluster/kubernetes/account.yaml, or correct `namespace`",
    404: "make the namespace, or correct `namespace`",
}


def expect_ready(settings: KubernetesSettings, home: Path) -> None:
    """Raise LauncherError where the cluster would not take the Job, or its pods would not have the home."""
    if not find_spec("kubernetes") or not find_spec("dagster_k8s"):
        raise LauncherError(
            "The launcher kubernetes needs packages of its own: run pip install '.[kubernetes]' in the checkout."
        )
    if not settings.image:
        raise LauncherError("The launcher kubernetes needs `image`: build one of this checkout, and name it there.")
    if mirror.keeper_of(home) is None and not _mounts(settings, home):
        raise LauncherError(
            f"The launcher kubernetes gives its pods no volume that holds {home}: mount the home there at the same "
            "path (`container.volumeMounts` and `pod_spec.volumes`), or use a home on object storage."
        )
    _load_login(settings)
    _Cluster(settings, _name_of(home)).try_out(home)


def run(
    settings: KubernetesSettings,
    context: dg.AssetExecutionContext,
    _: dg.PipesSubprocessClient,
    request: Path,
    output: Path,
) -> None:
    """Train to the end; raises LaunchedTrainingError where the Job failed."""
    from dagster_k8s.pipes import PipesK8sPodLogsMessageReader
    from kubernetes import client

    _load_login(settings)
    cluster = _Cluster(settings, _name_of(output))
    cluster.delete()  # of a step that was killed
    injector, reader = dg.PipesEnvContextInjector(), closing_once(PipesK8sPodLogsMessageReader(), output)
    with (
        beating(heartbeat_file(output)),
        dg.open_pipes_session(context.op_execution_context, injector, reader) as session,
    ):
        variables = environment_of(settings, output, session.get_bootstrap_env_vars())
        try:
            cluster.create(job_body(settings, cluster.name, request, variables, _owner(client)))
            cluster.follow(context, reader)
        finally:
            cluster.delete()
    if not cluster.succeeded and not (output / RESULT).exists():
        raise LaunchedTrainingError("the Job of Kubernetes failed")


def job_body(
    settings: KubernetesSettings,
    name: str,
    request: Path,
    variables: Mapping[str, str],
    owner: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The Job, as the API takes it. All pods have to run at the same time: a part of them would wait for the others."""
    endpoint = f"{name}-0.{name}:{settings.port}"
    container = {
        "name": "training",
        "image": settings.image,
        "command": command_for(settings, settings.python, endpoint, name, request),
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "resources": {"requests": settings.requests, "limits": settings.limits},
        **settings.container,
    }
    pod = {
        "subdomain": name,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": WORKDIR_GRACE,
        **({"serviceAccountName": settings.service_account} if settings.service_account else {}),
        **settings.pod_spec,
        "containers": [container, *settings.pod_spec.get("containers", [])],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {LABEL: name}, **({"ownerReferences": [owner]} if owner else {})},
        "spec": {
            "completionMode": "Indexed",
            "completions": settings.nodes,
            "parallelism": settings.nodes,
            "backoffLimit": settings.nodes * settings.max_restarts,  # a pod whose node failed is replaced
            "template": {"metadata": {"labels": {LABEL: name}}, "spec": pod},
        },
    }


def service_body(name: str, owner: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The headless service by which the pods know each other's names, also before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {LABEL: name}, **({"ownerReferences": [owner]} if owner else {})},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {LABEL: name}},
    }


class _Cluster:
    """The Job of one training, and its pods."""

    def __init__(self, settings: KubernetesSettings, name: str) -> None:
        from dagster_k8s.utils import detect_current_namespace
        from kubernetes import client

        self.settings, self.name = settings, name
        self.namespace = settings.namespace or detect_current_namespace(settings.kubeconfig or None) or "default"
        self.core, self.batch = client.CoreV1Api(), client.BatchV1Api()
        self.succeeded = False
        self._followed: dict[str, threading.Thread] = {}

    def try_out(self, home: Path) -> None:
        """LauncherError where the cluster would not take such a Job. It is asked, and makes nothing."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        asking: dict[str, Any] = {"dry_run": "All", "_request_timeout": ANSWER_SECONDS}
        try:
            self.core.create_namespaced_service(self.namespace, service_body(self.name), **asking)
            self.batch.create_namespaced_job(self.namespace, job_body(self.settings, self.name, home, {}), **asking)
            self.pods()
        except ApiException as error:
            left = error.status == 409  # of a step that was killed; the run deletes it
            if not left and "not support dry run" not in str(error.body):  # a webhook that cannot be asked so
                raise self._refusal(error) from None
        except HTTPError as error:
            host = self.core.api_client.configuration.host
            raise LauncherError(
                f"Kubernetes at {host} does not answer ({type(error).__name__}): see whether the cluster is up "
                "(`kubectl get jobs`), or correct `kubeconfig` and `context`."
            ) from None

    def create(self, body: dict[str, Any]) -> None:
        """Create service and Job; LauncherError says why the cluster refuses."""
        from kubernetes.client import ApiException

        owner = next(iter(body["metadata"].get("ownerReferences", [])), None)
        try:
            self.core.create_namespaced_service(self.namespace, service_body(self.name, owner))
            self.batch.create_namespaced_job(self.namespace, body)
        except ApiException as error:
            raise self._refusal(error) from error

    def follow(self, context: dg.AssetExecutionContext, reader: Any) -> None:
        """Wait until the Job is over, while the logs of its pods are read."""
        said, started = "", time.monotonic()
        while True:
            job, pods = self.state(context.log.warning)
            for pod in pods:
                if pod.status.phase != "Pending" and pod.metadata.name not in self._followed:
                    self._read_log(pod.metadata.name, context, reader)
            now = ", ".join(sorted(f"{pod.metadata.name} {pod.status.phase}" for pod in pods))
            if now != said:
                context.log.info(f"Pods of the training: {now or 'none yet'}.")
                said = now
            if self._is_over(job):
                break
            waiting = len(self._followed) < self.settings.nodes
            if reason := next(filter(None, map(_hopeless, pods)), ""):
                raise LauncherError(
                    f"A pod of the training cannot start ({reason}): correct `image`, `container` or `pod_spec` of the "
                    f"launcher; `kubectl describe pods --namespace {self.namespace}` says more."
                )
            if waiting and time.monotonic() - started > self.settings.wait_seconds:
                raise LauncherError(
                    f"Kubernetes has not started the {self.settings.nodes} pods of the training within "
                    f"{self.settings.wait_seconds:.0f} s ({said or 'none is there'}): ask for less, or wait longer."
                )
            time.sleep(self.settings.poll_seconds)
        for thread in self._followed.values():
            thread.join(STOP_SECONDS)

    def state(self, warn: Callable[[str], object]) -> tuple[client.V1Job, list[client.V1Pod]]:
        """The Job and its pods. An API that is away, as during an upgrade of the cluster, is asked again.

        LauncherError where it stays away, or refuses this account.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        deadline, said = time.monotonic() + AWAY_SECONDS, False
        while True:
            try:
                return self._job(), self.pods()
            except (ApiException, HTTPError) as error:
                if isinstance(error, ApiException) and error.status != 429 and error.status < 500:
                    raise self._refusal(error) from error
                if time.monotonic() > deadline:
                    raise LauncherError(
                        f"Kubernetes has not answered for {AWAY_SECONDS:.0f} s; the same command goes on from the last "
                        "checkpoint."
                    ) from None
            if not said:
                warn(f"Kubernetes does not answer; waiting for it, at most {AWAY_SECONDS:.0f} s.")
                said = True
            time.sleep(self.settings.poll_seconds)

    def _job(self) -> client.V1Job:
        from kubernetes.client import ApiException

        try:
            return self.batch.read_namespaced_job(self.name, self.namespace, _request_timeout=ANSWER_SECONDS)
        except ApiException as error:
            if error.status != 404:
                raise
            raise LauncherError(
                f"The Job {self.name} of the training was deleted; the same command goes on from its checkpoint."
            ) from None

    def _is_over(self, job: client.V1Job) -> bool:
        conditions = {one.type for one in job.status.conditions or [] if one.status == "True"}
        self.succeeded = "Complete" in conditions
        return self.succeeded or "Failed" in conditions

    def pods(self) -> list[client.V1Pod]:
        """The pods of the training."""
        found: list[client.V1Pod] = self.core.list_namespaced_pod(
            self.namespace, label_selector=f"{LABEL}={self.name}", _request_timeout=ANSWER_SECONDS
        ).items
        return found

    def _read_log(self, pod: str, context: dg.AssetExecutionContext, reader: Any) -> None:
        thread = threading.Thread(
            target=reader.consume_pod_logs,
            args=(context.op_execution_context, self.core, pod, self.namespace),
            name=f"log-{pod}",
            daemon=True,
        )
        self._followed[pod] = thread
        thread.start()

    def delete(self) -> None:
        """Delete Job, pods and service, if they are there, and wait until the pods are gone.

        LauncherError where the API does not do so.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._delete()
        except (ApiException, HTTPError) as error:
            why = f"{error.status} {error.reason}" if isinstance(error, ApiException) else "it does not answer"
            raise LauncherError(
                f"Kubernetes does not delete the Job {self.name} in the namespace {self.namespace} ({why}), which may "
                f"go on: the same command deletes it, and so does `kubectl delete job {self.name}`."
            ) from None

    def _delete(self) -> None:
        from kubernetes.client import ApiException

        remove_job = partial(self.batch.delete_namespaced_job, propagation_policy="Background")
        for remove in (remove_job, self.core.delete_namespaced_service):
            try:
                remove(self.name, self.namespace, _request_timeout=ANSWER_SECONDS)
            except ApiException as error:
                if error.status != 404:
                    raise
        deadline = time.monotonic() + STOP_SECONDS
        while self.pods() and time.monotonic() < deadline:
            time.sleep(min(1.0, self.settings.poll_seconds))

    def _refusal(self, error: ApiException) -> LauncherError:
        full = "ask for less, as the quota of the namespace is used up" if "exceeded quota" in str(error.body) else ""
        wrong = ", ".join(f"`{field}`" for field in wrong_fields(error)) or "the fields of the launcher"
        remedy = full or REMEDIES.get(error.status) or f"correct {wrong}"
        said = f"{error.status} {error.reason}"
        return LauncherError(f"Kubernetes refuses the training in the namespace {self.namespace}: {said}; {remedy}.")


def wrong_fields(error: ApiException) -> list[str]:
    """The fields that the API names as wrong. Their values, which it quotes, may be secrets."""
    try:
        return list(dict.fromkeys(cause["field"] for cause in json.loads(error.body)["details"]["causes"]))
    except (ValueError, TypeError, KeyError):
        return []


def _mounts(settings: KubernetesSettings, home: Path) -> bool:
    """Whether a volume of the pods holds this folder."""
    mounts = [str(mount.get("mountPath", "")) for mount in settings.container.get("volumeMounts") or ()]
    return any(place and home.absolute().is_relative_to(place) for place in mounts)


def _name_of(output: Path) -> str:
    """A name of Kubernetes for the run in this folder: the same for each attempt."""
    digest = hashlib.sha256(str(output).encode()).hexdigest()[:12]
    method = "".join(letter for letter in output.parent.name.lower() if letter.isascii() and letter.isalnum())[:20]
    return f"radalign-{method}-{digest}"


def _hopeless(pod: client.V1Pod) -> str:
    """Why a pod will never run, or ""."""
    for one in pod.status.container_statuses or []:
        waiting = one.state.waiting if one.state else None
        if waiting is not None and waiting.reason in HOPELESS:
            return f"{waiting.reason} of {one.image}"
    return ""


def _owner(client: Any) -> dict[str, Any] | None:
    """The pod that this step runs in, which then owns the Job; None outside of the cluster."""
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return None
    from dagster_k8s.utils import detect_current_namespace

    with suppress(client.ApiException):
        pod = client.CoreV1Api().read_namespaced_pod(os.environ.get("HOSTNAME", ""), detect_current_namespace(None))
        return {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid}
    return None


def _load_login(settings: KubernetesSettings) -> None:
    """Find the cluster's address and login; LauncherError where there are none."""
    from kubernetes import config

    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not settings.kubeconfig:
            config.load_incluster_config()
        else:
            config.load_kube_config(settings.kubeconfig or None, settings.context or None)
    except (config.ConfigException, OSError) as error:
        raise LauncherError(
            f"The launcher kubernetes finds no login for a cluster ({str(error).splitlines()[0]}): set KUBECONFIG or "
            "`kubeconfig`."
        ) from None
