"""What processes tell each other before they compute: a mistake of one is the sentence of all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from training.config import TrainingConfig
from training.errors import PeerLostError, TrainingError
from training.loop import expect_same
from training.parallel.group import Group, is_broken
from training.state.origin import Origin

ORIGIN = Origin({"method": "toy", "seed": 0}, "data", "", {}, "code", "2.15.0")


def on_two(call: Callable[[Group], object]) -> list[object]:
    """What `call` returns, or the error that it raises, in each of two processes, which are threads here."""
    store = dist.HashStore()

    def run(rank: int) -> object:
        try:
            return call(Group(torch.device("cpu"), store, rank, 2))
        except Exception as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(run, (0, 1)))


def test_a_sentence_that_nobody_can_be_told_is_raised_all_the_same():
    class Gone(dist.HashStore):
        def set(self, key, value):
            raise dist.DistNetworkError("the first process is gone")

    Group(torch.device("cpu"), Gone(), 1, 2).report(TrainingError("a mistake"))


def test_all_learn_what_each_brings():
    assert on_two(lambda group: group.collect(f"of {group.rank}")) == [["of 0", "of 1"]] * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_a_mistake_of_one_is_the_sentence_of_all(failing):
    def read(group: Group) -> str:
        def call() -> str:
            if group.rank == failing:
                raise TrainingError("the shards are not there")
            return "read"

        return group.together(call)

    assert [(type(error), str(error)) for error in on_two(read)] == [(TrainingError, "the shards are not there")] * 2


def test_a_fault_of_ours_keeps_nobody_waiting():
    def fail(group: Group) -> None:
        group.together(lambda: [][group.rank] if group.rank else None)

    waiting, failing = on_two(fail)
    assert isinstance(failing, IndexError)
    assert isinstance(waiting, TrainingError)
    assert str(waiting).endswith(": IndexError")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"code_version": "older"}, "another code version"),
        ({"torch_version": "2.14.0"}, r"another torch version .*'2.14.0', not '2.15.0'"),
        ({"data_version": "grown"}, "another data version"),
        ({"settings": {"method": "toy", "seed": 1}}, r"another option `seed` .*\(1, not 0\)"),
    ],
)
def test_processes_that_differ_do_not_begin(other, said):
    def compare(group: Group) -> None:
        origin = replace(ORIGIN, **other) if group.rank else ORIGIN
        expect_same(group, origin, TrainingConfig("medklip"))

    errors = on_two(compare)
    for error in errors:
        assert isinstance(error, TrainingError)
        with pytest.raises(TrainingError, match=said):
            raise error
    assert on_two(lambda group: expect_same(group, ORIGIN, TrainingConfig("medklip"))) == [None, None]


def test_a_broken_connection_is_explained_by_who_broke_it():
    store = dist.HashStore()
    group, other = (Group(torch.device("cpu"), store, rank, 2) for rank in (0, 1))
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.0.0.2]")
    assert is_broken(lost)
    assert not is_broken(RuntimeError("shapes differ"))
    assert isinstance(group.explain(lost), PeerLostError)
    other.report(TrainingError("a batch of 8 does not fit into the memory"))
    assert str(group.explain(lost)) == "a batch of 8 does not fit into the memory"
