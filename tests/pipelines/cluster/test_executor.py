"""What is said of a cluster while its machines are checked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipelines.cluster import executor
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.executor import check_machines


def test_a_cluster_that_stops_answering_is_one_sentence_and_what_was_started_is_ended(monkeypatch):
    ended = []

    class Machine:
        def __init__(self, answers):
            self.answers = answers

        def launch_step(self, context):
            if not self.answers:
                raise ConnectionError
            return iter(())

        def terminate_step(self, context):
            ended.append(self)
            return iter(())

    there, away = Machine(answers=True), Machine(answers=False)
    engine = SimpleNamespace(
        name="Ray at HEAD", command=[], unreachable=(ConnectionError,), places=lambda: {"a": there, "b": away}
    )
    plan = SimpleNamespace(step_keys_to_execute=["first"], get_step_by_key=str)
    monkeypatch.setattr(executor, "CheckContext", lambda *given: given)
    with pytest.raises(ClusterError, match=r"^Ray at HEAD has stopped answering while its machines were checked"):
        check_machines(engine, {}, SimpleNamespace(), plan)
    assert ended == [there]


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        ("ErrImagePull of registry/radalign:1", r"\(ErrImagePull of registry/radalign:1\): correct that\."),
        ("", "free CPUs"),
    ],
)
def test_a_worker_that_does_not_begin_is_one_sentence_with_what_it_waits_for(monkeypatch, waits, said):
    class Machine:
        launch_step = terminate_step = staticmethod(lambda context: iter(()))
        check_step_health = staticmethod(lambda context: SimpleNamespace(is_healthy=True))

    engine = SimpleNamespace(
        name="Kubernetes", command=[], unreachable=(ConnectionError,), places=lambda: {"pods": Machine()},
        has_ended=lambda context: False, read_waiting=lambda context: waits,
    )  # fmt: skip
    plan = SimpleNamespace(step_keys_to_execute=["first"], get_step_by_key=str)
    context = SimpleNamespace(log=SimpleNamespace(info=print))
    monkeypatch.setattr(executor, "CheckContext", lambda *given: given)
    monkeypatch.setattr(executor, "CHECK_SECONDS", -1.0)
    with pytest.raises(ClusterError, match=rf"^Kubernetes has not started a worker on pods in -1 s.*{said}"):
        check_machines(engine, {}, context, plan)
