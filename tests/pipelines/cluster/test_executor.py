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
