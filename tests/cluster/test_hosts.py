from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cluster import hosts as module
from benchmarks.cluster.hosts import UNAVAILABLE, available, remove_leftovers, simulate_hosts

SERVER = "import socket; s = socket.create_server(('{}', 7777)); s.accept(); print('met', flush=True); s.accept()"
CALL = "import socket; socket.create_connection(('{}', 7777), timeout=0.5)"
isolated = pytest.mark.skipif(not available(), reason=UNAVAILABLE)


@isolated
def test_hosts_reach_each_other_unless_one_is_cut_off():
    with simulate_hosts(2) as (one, other):
        assert one.address != other.address
        server = one.start([sys.executable, "-c", SERVER.format(one.address)])
        await_listening(one)
        one.cut()
        assert "timed out" in call(one, other).stderr
        one.join()
        assert call(one, other).returncode == 0
        assert one.members() == [server.pid]
        assert "met" in (one.home / "output.log").read_text()
        said = other.run([sys.executable, "-c", "import os, socket; print(socket.gethostname(), os.environ['HOME'])"])
        assert said.stdout.split() == [other.name, str(other.home)]
    assert server.poll() is not None
    assert not one.home.exists()
    assert not list(module.NAMESPACES.glob(f"{one.bridge}*"))
    assert not list(module.ETC.glob(f"{one.bridge}*"))


@isolated
def test_everything_goes_after_an_exception_and_after_a_kill():
    started = []
    with pytest.raises(ValueError, match="of ours"):
        fail_on_a_host(started)
    assert started[0].poll() is not None

    code = (
        "import os; from benchmarks.cluster.hosts import simulate_hosts\n"
        "with simulate_hosts(1) as (host,):\n"
        "    host.start(['sh', '-c', 'setsid sleep 60 & sleep 60'])\n"
        "    while len(host.members()) < 2: pass\n"
        "    print(host.name, *host.members(), host.home, flush=True)\n"
        "    os.kill(os.getpid(), 9)"
    )
    name, *pids, home = subprocess.run(
        [sys.executable, "-c", code], cwd=module.CHECKOUT, capture_output=True, text=True
    ).stdout.split()
    assert (module.NAMESPACES / name).exists()
    remove_leftovers()
    assert not (module.NAMESPACES / name).exists()
    assert not Path(home).exists()
    deadline = time.monotonic() + 5
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_namespaces_hosts_are_groups_of_processes():
    with simulate_hosts(2, isolated=False) as hosts:
        one, other = hosts
        assert (one.address, other.address, hosts.isolated) == ("127.0.0.2", "127.0.0.3", False)
        one.start([sys.executable, "-c", SERVER.format(one.address)])
        await_listening(one)
        assert call(one, other).returncode == 0
        one.cut()
        assert state(one.members()[0]) == "T"
        one.join()
        assert state(one.members()[0]) == "S"
    assert one.members() == []


def fail_on_a_host(started):
    with simulate_hosts(1) as (host,):
        started.append(host.start(["sleep", "60"]))
        raise ValueError("of ours")


def await_listening(host):
    deadline = time.monotonic() + 10
    while "7777" not in host.run(["sh", "-c", "cat /proc/net/tcp | grep -o 1E61 | sed s/1E61/7777/"]).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def call(server, client):
    return client.run([sys.executable, "-c", CALL.format(server.address)])


def state(pid):
    time.sleep(0.05)
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def runs(pid):
    return Path(f"/proc/{pid}").exists() and state(pid) != "Z"
