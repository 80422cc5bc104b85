"""What is said of a Kubernetes cluster that refuses a worker."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("dagster_k8s")

from dagster_k8s.client import DagsterK8sUnrecoverableAPIError
from kubernetes.client.rest import ApiException

from pipelines.cluster.errors import ClusterError
from pipelines.cluster.kubernetes import KubernetesEngine, Pods

CAUSE = {"field": "spec.template.spec.containers[0].image", "message": 'Invalid value: "secret"'}


def start(status: int, reason: str, body: str = "") -> list:
    """Start a worker whose job the API answers so."""

    def launch_step(_):
        yield "starting"
        refused = ApiException(status=status, reason=reason)
        refused.body = body
        try:
            raise refused
        except ApiException as error:
            raise DagsterK8sUnrecoverableAPIError(
                "Unexpected error encountered in Kubernetes API Client.",
                k8s_api_exception=error,
                original_exc_info=sys.exc_info(),
            ) from error

    return list(Pods(SimpleNamespace(launch_step=launch_step)).launch_step(SimpleNamespace(_instance=None)))


@pytest.mark.parametrize(
    ("status", "reason", "body", "said"),
    [
        (404, "Not Found", "", "(404 Not Found): see whether the namespace is there"),
        (403, "Forbidden", "no JSON", "(403 Forbidden): see"),
        (422, "Unprocessable Entity", json.dumps({"details": {"causes": [CAUSE]}}), f"Entity, {CAUSE['field']}): see"),
    ],
)
def test_a_job_that_the_cluster_refuses_is_one_sentence_without_values(status, reason, body, said):
    with pytest.raises(ClusterError) as refused:
        start(status, reason, body)
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_job_that_is_there_was_started_before():
    assert start(409, "Conflict") == ["starting"]


def test_why_a_pod_waits():
    waiting = SimpleNamespace(state=SimpleNamespace(waiting=SimpleNamespace(reason="ImagePullBackOff")), image="r/i:1")
    pods = [SimpleNamespace(status=None), SimpleNamespace(status=SimpleNamespace(container_statuses=[waiting]))]
    engine = KubernetesEngine.__new__(KubernetesEngine)
    engine.namespace = "radalign"
    engine._job = lambda context: "job"
    asked = SimpleNamespace(list_namespaced_pod=lambda namespace, label_selector: SimpleNamespace(items=pods))
    engine._api = SimpleNamespace(core_api=asked)
    assert engine.read_waiting(SimpleNamespace()) == "ImagePullBackOff of r/i:1"
    pods.pop()
    assert engine.read_waiting(SimpleNamespace()) == ""
