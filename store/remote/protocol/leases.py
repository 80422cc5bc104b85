"""Leases: locks in the store, for writers on different machines.

A lease is an object with its holder, a token and a counter, which a thread of the holder moves on. Each change is a
conditional write. Whoever waits takes the lease over when it has not changed for its duration by the waiter's own
clock, so that clocks of different machines are never compared; the token grows. A holder that was paused or cut off
may still believe that it holds the lease: its token tells (`store.remote.protocol.manifests`).

The holder names its machine. A waiter on the same machine sees whether the process is gone, and then need not wait. On
another machine a holder lives if it renews its lease: who does not want to wait for its end still looks for so long.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Self

from store.errors import BusyError
from store.processes import process_start
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.objects import Found, Objects

FOLDER = "leases/"
VARIABLE = "RADALIGN_LEASE_SECONDS"
SECONDS = 30.0  # a holder that does not renew its lease for so long loses it to who waits
RENEWALS = 3  # in the time of a lease
POLLS = 20  # looks of a waiter in the time of a lease

Log = Callable[[str], object]


@dataclass(frozen=True)
class State:
    """What the object of a lease says."""

    token: int = 0  # grows with every holder
    beat: int = 0  # grows with every renewal
    seconds: float = SECONDS  # without a renewal, after which the lease may be taken over
    holder: str = ""  # unique; empty where nobody holds it
    host: str = ""  # for people
    machine: str = ""  # what processes must have in common to see each other
    pid: int = 0
    started: int = 0  # `process_start` of the holder

    def to_bytes(self) -> bytes:
        """The state as it is stored."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> State:
        """The state of `to_bytes`."""
        said = {**json.loads(body)}
        said.pop("since", None)  # by which earlier versions told processes apart
        return cls(**said)

    @property
    def is_gone(self) -> bool:
        """Whether the holder is known to have ended."""
        return self.machine == machine() and process_start(self.pid) != self.started


class Lease:
    """A lease that this process holds until `release`, or to the end of a `with` block.

    The block raises LeaseLostError at its end where the lease was lost meanwhile.
    """

    def __init__(self, objects: Objects, name: str, state: State, etag: str) -> None:
        self.name, self.lost = name, False
        self._objects, self._state, self._etag = objects, state, etag
        self._changing, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew_often, name=f"lease {name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.expect_held()
        finally:
            self.release()

    @property
    def token(self) -> int:
        """Larger than that of every holder before."""
        return self._state.token

    def expect_held(self) -> None:
        """Raise LeaseLostError where another one is known to have taken the lease over."""
        if self.lost:
            raise LeaseLostError.of(self.name)

    def renew(self) -> None:
        """Move the counter on, once."""
        with self._changing:
            if self.lost or self._ended.is_set():
                return
            self._replace(replace(self._state, beat=self._state.beat + 1))

    def release(self) -> None:
        """Let others have the lease at once; where the store cannot be reached, they have it after its duration."""
        self._ended.set()
        with self._changing:
            if not self.lost:
                try:
                    self._replace(replace(self._state, beat=self._state.beat + 1, holder=""))
                except StoreError:
                    return

    def _replace(self, state: State) -> None:
        etag = self._objects.put_if(FOLDER + self.name, state.to_bytes(), self._etag)
        if etag is None and (ours := self._find_own()):
            etag = self._objects.put_if(FOLDER + self.name, state.to_bytes(), ours)
        if etag is None:
            self.lost = True
        else:
            self._state, self._etag = state, etag

    def _find_own(self) -> str | None:
        """The tag of the lease if it is still ours: a renewal that was given up may have had its effect."""
        there = self._objects.get(FOLDER + self.name)
        return (
            there.etag if there and _read_state(self._objects, self.name, there).holder == self._state.holder else None
        )

    def _renew_often(self) -> None:
        while not self._ended.wait(self._state.seconds / RENEWALS) and not self.lost:
            try:
                self.renew()
            except StoreError:
                continue  # it is still ours, unless somebody takes it over


class Leases:
    """The leases of a home."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._quick = Objects(objects.address, patience=lease_seconds() / RENEWALS)

    def acquire(
        self,
        name: str,
        busy: str,
        log: Log = lambda _: None,
        patience: float = math.inf,
        last_token: Callable[[], int] = lambda: 0,
    ) -> Lease:
        """Hold a lease until it is released: by the end of a `with` block, or by hand.

        Args:
            name: of the lease.
            busy: what is said of another holder, as in "Another run trains".
            log: is told once that another holder is waited for.
            patience: seconds.
            last_token: the largest token that was published under, which is asked where the object of the lease is not
                there: somebody may have deleted it.

        Raises:
            BusyError: somebody else holds it for more than `patience` seconds and, on another machine, has renewed it.
        """
        watched, since, said, renewed = "", 0.0, False, False
        deadline = time.monotonic() + patience
        while True:
            found = self._objects.get(FOLDER + name)
            before = _read_state(self._objects, name, found) if found else State()
            tag = found.etag if found else ""
            if tag != watched:
                renewed = bool(watched)
                watched, since = tag, time.monotonic()
            expired = time.monotonic() - since >= before.seconds
            if not before.holder or before.is_gone or expired:
                state = _claim((before.token if found else last_token()) + 1)
                etag = self._objects.put_if(FOLDER + name, state.to_bytes(), tag or None)
                if etag is not None:
                    return Lease(self._quick, name, state, etag)
                continue
            if time.monotonic() >= deadline and (renewed or before.machine == machine()):
                raise BusyError(f"{busy} on {before.host}; try again when it has ended.")
            if not said:
                log(f"{busy} on {before.host}; waiting for it to end.")
                said = True
            time.sleep(min(before.seconds / POLLS, 1.0))


@cache
def machine() -> str:
    """What tells this machine, and this view of its processes, from all others."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def _read_state(objects: Objects, name: str, found: Found) -> State:
    """The state of a lease; StoreError where it is none."""
    try:
        state = State.from_bytes(found.body)
        if not 0 < state.seconds < math.inf:
            raise ValueError("no duration")
    except (ValueError, TypeError):
        raise StoreError(
            f"The lease {name} in {objects.address.url} is damaged: when no run works there, delete the object "
            f"{objects.address.key(FOLDER + name)}."
        ) from None
    return state


def _claim(token: int) -> State:
    pid = os.getpid()
    own = socket.gethostname(), machine(), pid, process_start(pid) or 0
    return State(token, 0, lease_seconds(), uuid.uuid4().hex, *own)


def lease_seconds() -> float:
    """Duration of new leases; StoreError where its variable says none."""
    given: Any = os.environ.get(VARIABLE)
    try:
        found = float(given) if given else SECONDS
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise StoreError(f"{VARIABLE} is {given}, which is no number of seconds above 0: correct or unset it.")
    return max(1.0, found)
