"""A server that speaks S3, for all tests of this folder."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.cluster import object_store
from store.remote import mirror

_number = itertools.count()


@pytest.fixture(scope="session")
def server():
    """The server, with an empty bucket."""
    if reason := object_store.missing():
        pytest.skip(reason)
    with object_store.running() as store:
        yield store


@pytest.fixture(scope="session")
def proxy(server):
    """A way to the server on which faults happen."""
    with server.faulty() as proxy:
        yield proxy


@pytest.fixture
def url(server, monkeypatch):
    """The address of a new home, whose store the environment names."""
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("RADALIGN_HOME", "RADALIGN_LOCKS_HELD", mirror.VARIABLE, mirror.KNOWN):
        monkeypatch.delenv(name, raising=False)
    return server.url(f"home{next(_number)}")


@pytest.fixture
def host(url, tmp_path, monkeypatch):
    """`host(name)`: from then on this process is on the machine of this name; returns its mirror of the home."""

    def enter(name, **variables):
        monkeypatch.setenv("RADALIGN_HOME", url)
        monkeypatch.setenv(mirror.VARIABLE, str(tmp_path / name))
        monkeypatch.delenv(mirror.KNOWN, raising=False)
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        return mirror.mirror_of(url)

    return enter
