"""A training as an indexed Job, against an API whose pods are processes of this machine."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest

pytest.importorskip("dagster_k8s", reason="the extra `kubernetes` is not installed")

from kubernetes.client import ApiException
from urllib3.exceptions import MaxRetryError

from assets.networks.launchers import kubernetes
from assets.networks.launchers.common import LauncherError
from assets.networks.launchers.settings import KubernetesSettings
from tests.assets.networks.launchers.fake_kubernetes import Cluster
from training.state.checkpoint import complete_checkpoints


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path / "kubernetes")
    yield made
    made.close()


def settings_for(cluster, **more) -> dict:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    given = {"image": "radalign:test", "kubeconfig": str(cluster.kubeconfig), "python": sys.executable}
    given["container"] = {"volumeMounts": [{"name": "home", "mountPath": str(cluster.folder.parent)}]}
    return {**given, "port": port, "poll_seconds": 0.2, "max_restarts": 0, **more}


def test_two_pods_train_together_and_an_end_of_the_job_is_the_end_of_the_step(cluster, training):
    """The Job is deleted in the middle, as by somebody else: the pods write their checkpoint, and the step fails."""

    def disturb() -> None:
        training.await_step(5)
        training.await_said(", loss ")
        cluster.delete_job(next(iter(cluster.jobs)))

    training.config = replace(training.config, max_steps=5000)
    disturbance = threading.Thread(target=disturb, daemon=True)
    disturbance.start()
    result = training.launch(kubernetes=settings_for(cluster, nodes=2))
    disturbance.join()
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "was deleted; the same command goes on" in failure.step_failure_data.user_failure_data.description
    (last,) = complete_checkpoints(training.output)
    assert int(last.name.removeprefix("step-")) >= 5
    assert not cluster.pods
    assert not cluster.services
    assert (training.output / "metrics.1.jsonl").exists()
    said = training.said()
    assert any("-0 Running" in line and "-1 Running" in line for line in said)
    assert any("epoch" in line and "loss" in line for line in said)


def test_the_job_names_what_every_pod_needs(tmp_path):
    settings = KubernetesSettings(
        image="i", nodes=3, processes=2, limits={"nvidia.com/gpu": "2"}, service_account="trainer",
        pod_spec={"volumes": [{"name": "home"}]}, container={"volumeMounts": [{"name": "home", "mountPath": "/h"}]},
    )  # fmt: skip
    body = kubernetes.job_body(settings, "radalign-x", tmp_path / "request.json", {"A": "1"})
    assert (body["spec"]["completions"], body["spec"]["parallelism"]) == (3, 3)
    pod = body["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["volumes"], pod["restartPolicy"]) == ("trainer", [{"name": "home"}], "Never")
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container["volumeMounts"] == [{"name": "home", "mountPath": "/h"}]
    assert "--rdzv-endpoint=radalign-x-0.radalign-x:29400" in container["command"]
    assert container["command"][3:5] == ["--nnodes=3", "--nproc-per-node=2"]


def pods_of_an_api(*answers):
    """A training whose API gives these answers, one after the other."""
    from kubernetes.client import CoreV1Api

    given = iter(answers)

    def answer(*_, **__):
        found = next(given)
        if isinstance(found, Exception):
            raise found
        return found

    one = kubernetes._Cluster.__new__(kubernetes._Cluster)
    one.settings, one.name, one.namespace = KubernetesSettings(poll_seconds=0.01), "radalign-x", "default"
    one.batch = SimpleNamespace(read_namespaced_job=answer, delete_namespaced_job=answer)
    one.core = create_autospec(CoreV1Api, instance=True)
    one.core.list_namespaced_pod.return_value.items = []
    return one


def test_an_api_that_is_away_for_a_while_does_not_end_the_training(monkeypatch):
    away, said = MaxRetryError(None, "/"), []
    assert pods_of_an_api(away, ApiException(status=503), away, "the Job").state(said.append) == ("the Job", [])
    assert said == ["Kubernetes does not answer; waiting for it, at most 300 s."]
    with pytest.raises(LauncherError, match="refuses the training in the namespace default: 403 Forbidden"):
        pods_of_an_api(ApiException(status=403, reason="Forbidden")).state(said.append)
    monkeypatch.setattr(kubernetes, "AWAY_SECONDS", -1)
    with pytest.raises(LauncherError, match="has not answered"):
        pods_of_an_api(away).state(said.append)


@pytest.mark.parametrize("error", [MaxRetryError(None, "/"), ApiException(status=503), ApiException(status=403)])
def test_a_job_that_cannot_be_deleted_is_named(error):
    with pytest.raises(LauncherError, match="`kubectl delete job radalign-x`"):
        pods_of_an_api(error).delete()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (409, "", None),  # of a step that was killed
        (400, "admission webhook x does not support dry run", None),
        (403, "exceeded quota: jobs", "ask for less, as the quota"),
        (403, "forbidden", r"give its account the rights of configs/cluster/kubernetes/account\.yaml"),
        (400, "", "correct the fields of the launcher"),
    ],
)
def test_what_the_cluster_says_of_a_job_on_trial(tmp_path, status, body, said):
    one, refused = pods_of_an_api(), ApiException(status=status, reason="R")
    refused.body = body
    one.core.create_namespaced_service.side_effect = refused
    with nullcontext() if said is None else pytest.raises(LauncherError, match=said):
        one.try_out(tmp_path)


def test_a_job_that_is_not_there_need_not_be_deleted():
    pods_of_an_api(ApiException(status=404)).delete()


def test_what_is_missing_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(LauncherError, match="needs `image`"):
        kubernetes.expect_ready(KubernetesSettings(), tmp_path)
    mounts = {"volumeMounts": [{"name": "home", "mountPath": f"{tmp_path}/other"}]}
    with pytest.raises(LauncherError, match=rf"no volume that holds {tmp_path}: .*`container\.volumeMounts`"):
        kubernetes.expect_ready(KubernetesSettings(image="i", container=mounts), tmp_path)
    mounts = {"volumeMounts": [{"name": "home", "mountPath": str(tmp_path)}]}
    with pytest.raises(LauncherError, match="finds no login for a cluster"):
        kubernetes.expect_ready(KubernetesSettings(image="i", container=mounts), tmp_path / "home")


def test_what_the_cluster_would_refuse_is_one_sentence_before_any_work(cluster, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    def ask(**more):
        kubernetes.expect_ready(KubernetesSettings(**settings_for(cluster, **more)), tmp_path)

    ask()
    with pytest.raises(LauncherError, match=r"in the namespace nowhere: 404 Not Found; make the namespace, or correct"):
        ask(namespace="nowhere")
    with pytest.raises(LauncherError, match=r"422 .*; correct `spec\..*resources\.limits\[memory\]`\.$") as refused:
        ask(limits={"memory": "much"})
    assert "much" not in str(refused.value)
    assert not cluster.jobs
    assert not cluster.services
    cluster.close()
    with pytest.raises(LauncherError, match=r"Kubernetes at http://127\.0\.0\.1:\d+ does not answer \(MaxRetryError\)"):
        ask()


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "CreateContainerError"])
def test_a_pod_that_will_never_run_ends_the_step(reason):
    waiting = SimpleNamespace(state=SimpleNamespace(waiting=SimpleNamespace(reason=reason)), image="i")
    metadata = SimpleNamespace(name="radalign-x-0")
    pod = SimpleNamespace(metadata=metadata, status=SimpleNamespace(phase="Pending", container_statuses=[waiting]))
    one = pods_of_an_api(SimpleNamespace(status=SimpleNamespace(conditions=None)))
    one.core.list_namespaced_pod.return_value.items, one._followed, one.succeeded = [pod], {}, False
    context = SimpleNamespace(log=SimpleNamespace(info=print, warning=print))
    with pytest.raises(LauncherError, match=rf"^A pod of the training cannot start \({reason} of i\): correct `image`"):
        one.follow(context, None)
