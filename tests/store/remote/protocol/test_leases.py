"""Leases: one holder at a time, tokens that grow, and waiters that trust their own clock alone."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from store.errors import BusyError
from store.processes import process_start
from store.remote.protocol import leases
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.leases import FOLDER, Leases, State
from tests.store.remote.memory import MemoryObjects

NAME = "phantom/ingestion.lock"


class Clock:
    """A clock that only moves when somebody sleeps; what `meanwhile` does happens in each sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.meanwhile = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    own = SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.sleep, time=time.time)
    monkeypatch.setattr(leases, "time", own)
    return clock


@pytest.fixture
def objects():
    return MemoryObjects()


@pytest.fixture
def elsewhere(monkeypatch):
    """`elsewhere(number)`: leases are taken on another machine from now on."""
    return lambda number: monkeypatch.setattr(leases, "machine", lambda: f"machine {number}")


def holders(objects):
    own = Leases(objects)
    own._quick = objects
    return own


def state_of(objects):
    return State.from_bytes(objects.get(FOLDER + NAME).body)


def test_a_lease_that_was_given_back_is_free_at_once_and_its_token_grows(objects, clock):
    own = holders(objects)
    tokens = []
    for _ in range(3):
        with own.acquire(NAME, "busy") as lease:
            tokens.append(lease.token)
            assert state_of(objects).holder
        assert not state_of(objects).holder
    assert tokens == [1, 2, 3]
    assert clock.now == 0


def test_who_does_not_want_to_wait_is_told_who_holds_it(objects, clock, elsewhere):
    elsewhere(1)
    first = holders(objects).acquire(NAME, "Another run trains")
    clock.meanwhile = lambda: first.renew() if clock.now > leases.SECONDS / leases.RENEWALS else None
    elsewhere(2)
    with pytest.raises(BusyError, match=r"^Another run trains on .*; try again when it has ended\.$"):
        holders(objects).acquire(NAME, "Another run trains", patience=0)
    assert clock.now < leases.SECONDS / leases.RENEWALS + 3
    assert not first.lost


def test_who_does_not_want_to_wait_has_the_lease_of_a_machine_that_is_gone(objects, clock, elsewhere):
    elsewhere(1)
    first = holders(objects).acquire(NAME, "busy")
    elsewhere(2)
    assert holders(objects).acquire(NAME, "busy", patience=0).token == first.token + 1
    assert leases.SECONDS <= clock.now < leases.SECONDS + 3


def test_a_waiter_says_once_that_it_waits_and_has_the_lease_after_its_holder(objects, clock, elsewhere):
    elsewhere(1)
    first, said = holders(objects).acquire(NAME, "busy"), []
    clock.meanwhile = lambda: first.release() if clock.now > 5 else first.renew()
    elsewhere(2)
    second = holders(objects).acquire(NAME, "busy", said.append)
    assert second.token == 2
    assert len(said) == 1
    assert 5 < clock.now < 7


def test_a_holder_that_renews_keeps_its_lease_however_long(objects, clock, elsewhere):
    elsewhere(1)
    first = holders(objects).acquire(NAME, "busy")
    clock.meanwhile = first.renew
    elsewhere(2)
    with pytest.raises(BusyError):
        holders(objects).acquire(NAME, "busy", patience=10 * leases.SECONDS)
    assert not first.lost


@pytest.mark.parametrize("offset", [-1e9, 0, 1e9])
def test_a_silent_holder_loses_its_lease_whatever_its_clock_says(objects, clock, elsewhere, offset, monkeypatch):
    monkeypatch.setattr(leases.time, "time", lambda: time.time() + offset)
    elsewhere(1)
    first = holders(objects).acquire(NAME, "busy")
    elsewhere(2)
    second = holders(objects).acquire(NAME, "busy")
    assert leases.SECONDS <= clock.now < leases.SECONDS + 3
    assert second.token == first.token + 1
    first.renew()
    assert first.lost
    with pytest.raises(LeaseLostError, match=r"Another run has taken over phantom/ingestion\.lock"):
        first.expect_held()
    first.release()  # takes nothing from the second
    assert state_of(objects).holder
    second.renew()
    assert not second.lost


def test_the_block_of_a_lost_lease_ends_with_one_sentence(objects, clock, elsewhere):
    elsewhere(1)
    own = holders(objects)

    def lose():
        with own.acquire(NAME, "busy") as lease:
            elsewhere(2)
            holders(objects).acquire(NAME, "busy")
            lease.renew()

    with pytest.raises(LeaseLostError):
        lose()


def test_a_holder_that_was_killed_on_this_machine_is_followed_at_once(objects, clock):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        held = State(7, 0, leases.SECONDS, "holder", "here", leases.machine(), pid, process_start(pid))
        objects.put(FOLDER + NAME, held.to_bytes())
        with pytest.raises(BusyError):
            holders(objects).acquire(NAME, "busy", patience=0)
        another = replace(held, started=held.started - 1)  # had this id before
        assert another.is_gone
        assert not held.is_gone
        process.kill()
    assert holders(objects).acquire(NAME, "busy", patience=0).token == 8
    assert clock.now == 0


def test_a_store_that_is_away_for_a_renewal_does_not_end_the_lease(objects, clock, monkeypatch):
    lease = holders(objects).acquire(NAME, "busy")

    def fail(*_):
        raise StoreError("away")

    with monkeypatch.context() as patch:
        patch.setattr(objects, "put_if", fail)
        with pytest.raises(StoreError):
            lease.renew()
    lease.renew()
    assert not lease.lost
    assert state_of(objects).beat == 1


def test_a_renewal_that_was_given_up_and_had_its_effect_does_not_end_the_lease(objects, clock, monkeypatch):
    lease, write = holders(objects).acquire(NAME, "busy"), objects.put_if

    def write_and_fail(*arguments):
        write(*arguments)
        raise StoreError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(objects, "put_if", write_and_fail)
        with pytest.raises(StoreError):
            lease.renew()
    lease.renew()
    assert not lease.lost
    lease.release()
    assert not state_of(objects).holder


def test_the_duration_can_be_set_and_has_to_be_a_number(objects, monkeypatch):
    monkeypatch.setenv(leases.VARIABLE, "7")
    with holders(objects).acquire(NAME, "busy"):
        assert state_of(objects).seconds == 7
    for wrong in ("soon", "inf", "nan"):
        monkeypatch.setenv(leases.VARIABLE, wrong)
        with pytest.raises(StoreError, match=f"RADALIGN_LEASE_SECONDS is {wrong}"):
            Leases(objects)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"seconds": -1}', b'{"seconds": "soon"}', b'{"other": 1}'])
def test_a_damaged_lease_is_one_sentence(objects, body):
    objects.put(FOLDER + NAME, body)
    with pytest.raises(StoreError, match=f"The lease {NAME} in s3://bucket/home is damaged: .* home/leases/{NAME}"):
        holders(objects).acquire(NAME, "busy", patience=0)


def test_a_thread_renews_the_lease_by_itself(objects, monkeypatch):
    monkeypatch.setenv(leases.VARIABLE, "1")
    with holders(objects).acquire(NAME, "busy", patience=math.inf):
        deadline = time.monotonic() + 10
        while state_of(objects).beat < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert state_of(objects).beat >= 2
