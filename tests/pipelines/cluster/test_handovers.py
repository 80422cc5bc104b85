from __future__ import annotations

from types import SimpleNamespace

import dagster as dg
import pytest

from assets.workspace import WorkspaceResource
from pipelines.cluster import handovers as module
from pipelines.cluster.handovers import handovers
from store.errors import DamageError


class Memory(dict):
    """Objects of a store."""

    def put(self, name, body):
        self[name] = body

    def get(self, name):
        return SimpleNamespace(body=self[name]) if name in self else None


@dg.op(out={"batch": dg.DynamicOut(dict), "plan": dg.Out(set)})
def plan():
    for name in ("b0", "b1"):
        yield dg.DynamicOutput({"name": name, "of": 2}, mapping_key=name, output_name="batch")
    yield dg.Output({"no", "JSON"}, output_name="plan")


@dg.op
def compute(work: dict):
    return {"computed": len(work["name"]), "counts": {work["name"]: (3, 1)}}


@dg.op(ins={"outcomes": dg.In(list), "plan": dg.In(set)})
def collect(outcomes, plan):
    return sorted(plan), [outcome["counts"] for outcome in outcomes]


@dg.job(resource_defs={"workspace": WorkspaceResource(), "io_manager": handovers})
def work():
    batches, planned = plan()
    collect(batches.map(compute).collect(), planned)


def test_what_batches_get_and_give_goes_through_the_store_and_the_rest_stays(monkeypatch):
    objects = Memory()
    monkeypatch.setattr(module, "keeper_of", lambda home: SimpleNamespace(objects=objects))
    done = work.execute_in_process()
    assert done.output_for_node("collect") == (["JSON", "no"], [{"b0": [3, 1]}, {"b1": [3, 1]}])
    names = sorted("/".join(name.split("/")[2:]) for name in objects)
    assert names == ["compute[b0]/result", "compute[b1]/result", "plan/batch/b0", "plan/batch/b1"]
    assert {name.split("/")[1] for name in objects} == {done.run_id}


def test_a_value_that_is_gone_is_said_in_one_sentence(monkeypatch):
    class Forgetful(Memory):
        def get(self, name):
            return None

    monkeypatch.setattr(module, "keeper_of", lambda home: SimpleNamespace(objects=Forgetful()))
    with pytest.raises(Exception, match="same command again") as caught:
        work.execute_in_process()
    assert isinstance(caught.value.__cause__ or caught.value, DamageError)


def test_without_a_store_nothing_is_json():
    assert work.execute_in_process().output_for_node("collect")[1] == [{"b0": (3, 1)}, {"b1": (3, 1)}]
