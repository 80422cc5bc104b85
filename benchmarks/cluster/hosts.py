"""Simulated hosts on one machine: Linux network namespaces with addresses of their own, joined by a bridge.

    with simulate_hosts(3) as hosts:
        server = hosts[0].start(["postgres", "-h", hosts[0].address])
        hosts[1].run([sys.executable, "-m", "training", ...], {"RADALIGN_HOME": "/shared"})
        hosts[1].cut()   # its packets are lost, as with a cable that is pulled
        hosts[1].join()

A host has an address, a host name that all hosts resolve, a home folder and a process table of its own to kill. Files,
CPU and memory are those of the machine. The machine itself is reached by `hosts.gateway`. Nothing outside of the
machine is reached from a host.

Everything is removed at the end, also after an exception. Names carry the id of the process that made them: what a
killed process left is removed when the next one begins. Where namespaces are refused (no root, no `ip`), hosts are
groups of processes with homes of their own on 127.0.0.2, 127.0.0.3 and so on, and `hosts.isolated` is False.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.kills import session_members
from store.processes import end_with_parent, process_lives

CHECKOUT = Path(__file__).resolve().parents[2]
UNAVAILABLE = "simulated hosts need Linux network namespaces: root, and the program ip of Debian's package iproute2"
NAMESPACES, ETC = Path("/run/netns"), Path("/etc/netns")  # ip-netns(8)
NAME = re.compile(r"ra(\d+)-\d+")  # of a bridge: process, counter; its hosts have the suffix h1, h2 ...
HOME = re.compile(r"ra(\d+)-\w{8}")  # of the folder of all homes
END_SECONDS = 10
_counter = itertools.count()


@dataclass
class Host:
    """One simulated machine."""

    name: str
    address: str  # IPv4
    home: Path  # a folder of its own: HOME of what it starts
    bridge: str = ""  # empty: not isolated
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        log: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own; it ends with the thread that started it.

        Args:
            command: a program and its arguments. The process has this id, so that it can be killed.
            environment: added to this process's own, without RADALIGN_*, with the home of the host.
            folder: where it starts; the home of the host if not given.
            log: where its output is appended; `output.log` in the home of the host if not given.
        """
        with (log or self.home / "output.log").open("ab") as output:
            process = subprocess.Popen(
                self._inside(command),
                cwd=folder or self.home,
                env=self._environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.started.append(process)
        return process

    def run(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which the caller judges by `returncode`; stdout and stderr are text."""
        return subprocess.run(
            self._inside(command),
            cwd=folder or self.home,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    def members(self) -> list[int]:
        """Ids of the processes that run on the host."""
        if self.bridge:
            return [int(pid) for pid in _ip("netns", "pids", self.name).split()]
        return sorted(pid for process in self.started for pid in session_members(process.pid))

    def cut(self) -> None:
        """Lose all packets between the host and the others, without a notice to either.

        Not isolated: its processes stand still instead.
        """
        if self.bridge:
            _ip("link", "set", _cable(self.name), "nomaster")
        else:
            _signal(self.members(), signal.SIGSTOP)

    def join(self) -> None:
        """Undo `cut`."""
        if self.bridge:
            _ip("link", "set", _cable(self.name), "master", self.bridge)
        else:
            _signal(self.members(), signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9` everything that runs on the host, as if its power failed; commands can be started again."""
        deadline = time.monotonic() + END_SECONDS
        while members := self.members():
            _signal(members, signal.SIGKILL)
            for process in self.started:
                process.poll()
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of the host {self.name} do not end: {members}")
            time.sleep(0.02)
        for process in self.started:
            process.wait()
        self.started.clear()

    def _inside(self, command: Sequence[str | Path]) -> list[str]:
        words = [str(word) for word in command]
        if not self.bridge:
            return words
        named = f'echo {self.name} > /proc/sys/kernel/hostname; exec "$@"'
        return ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", named, "sh", *words]

    def _environment(self, added: Mapping[str, str] | None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RADALIGN_", "XDG_"))}
        temporary = self.home / "tmp"
        temporary.mkdir(exist_ok=True)
        paths = {"HOME": str(self.home), "TMPDIR": str(temporary), "PYTHONPATH": str(CHECKOUT)}
        return {**own, **paths, "HOSTNAME": self.name, **(added or {})}


class Hosts(tuple[Host, ...]):
    """The hosts in their order."""

    gateway: str = "127.0.0.1"  # where they reach the machine itself
    isolated: bool = False  # whether each has a network of its own, which can be cut


def available() -> bool:
    """Whether hosts can have a network of their own here; UNAVAILABLE is the sentence for a test that is skipped."""
    return _can_isolate()


@cache
def _can_isolate() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    name = f"ra{os.getpid()}-try"
    bridge = f"ra{os.getpid()}-t"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", bridge, "type", "bridge")
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        for arguments in (("netns", "del", name), ("link", "del", bridge)):
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                _ip(*arguments)
    return True


@contextlib.contextmanager
def simulate_hosts(count: int, isolated: bool | None = None) -> Iterator[Hosts]:
    """Some hosts, all of whose processes are killed at the end.

    Args:
        count: how many.
        isolated: False: without namespaces; True: RuntimeError where they are refused; not given: where possible.
    """
    if isolated and not available():
        raise RuntimeError(UNAVAILABLE)
    if isolated is None and not available():
        sys.stderr.write(f"{UNAVAILABLE}; hosts are groups of processes on 127.0.0.2 and so on instead.\n")
    remove_leftovers()
    with tempfile.TemporaryDirectory(prefix=f"ra{os.getpid()}-") as folder:  # short: sockets lie below it
        make = _make_isolated if isolated or (isolated is None and available()) else _make_plain
        with make(count, Path(folder)) as hosts:
            yield hosts


@contextlib.contextmanager
def _make_plain(count: int, folder: Path) -> Iterator[Hosts]:
    hosts = Hosts(Host(f"host{i}", f"127.0.0.{i + 1}", _make_home(folder, i)) for i in range(1, count + 1))
    try:
        yield hosts
    finally:
        for host in hosts:
            host.kill()


@contextlib.contextmanager
def _make_isolated(count: int, folder: Path) -> Iterator[Hosts]:
    bridge = f"ra{os.getpid()}-{next(_counter)}"
    net = _free_net()
    names = [f"{bridge}h{i}" for i in range(1, count + 1)]
    hosts = Hosts(Host(name, f"{net}.{i + 1}", _make_home(folder, i), bridge) for i, name in enumerate(names, start=1))
    hosts.gateway, hosts.isolated = f"{net}.1", True
    try:
        for host in hosts:
            _write_hosts_file(host.name, hosts)
        _batch(
            f"link add {bridge} type bridge",
            f"addr add {net}.1/24 dev {bridge}",
            f"link set {bridge} up",
            *(line for host in hosts for line in _wire(host)),
        )
        for host in hosts:
            _batch("link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up", namespace=host.name)
        yield hosts
    finally:
        for host in hosts:
            if (NAMESPACES / host.name).exists():
                host.kill()
        _remove(bridge)


def _wire(host: Host) -> tuple[str, ...]:
    cable = _cable(host.name)
    return (
        f"netns add {host.name}",
        f"link add {cable} type veth peer name eth0 netns {host.name}",
        f"link set {cable} master {host.bridge} up",
    )


def remove_leftovers() -> None:
    """Remove the hosts of processes that are gone, with their homes, and kill what runs there."""
    found = {match[0]: int(match[1]) for path in NAMESPACES.glob("ra*") if (match := NAME.match(path.name))}
    for bridge, pid in found.items():
        with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):  # removed by another one meanwhile
            made = min(path.stat().st_mtime for path in _namespaces(bridge))
            if process_lives(pid, made):
                continue
            for path in _namespaces(bridge):
                _signal([int(one) for one in _ip("netns", "pids", path.name).split()], signal.SIGKILL)
            _remove(bridge)
    for path in Path(tempfile.gettempdir()).glob("ra*-*"):
        match = HOME.fullmatch(path.name)
        with contextlib.suppress(FileNotFoundError):
            if match and not process_lives(int(match[1]), path.stat().st_ctime):
                shutil.rmtree(path, ignore_errors=True)


def _remove(bridge: str) -> None:
    """Remove a bridge, its hosts and their cables, as far as they are there."""
    for path in _namespaces(bridge):
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", path.name)  # and with it the cable
    for path in ETC.glob(f"{bridge}h*"):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(subprocess.CalledProcessError):
        _ip("link", "del", bridge)


def _namespaces(bridge: str) -> list[Path]:
    return sorted(NAMESPACES.glob(f"{bridge}h*"))


def _cable(name: str) -> str:
    """The end of a host's cable at the bridge; eth0 is the other end."""
    return f"{name}v"


def _write_hosts_file(name: str, hosts: Hosts) -> None:
    """The names of all hosts, as /etc/hosts of one: `ip netns exec` puts it there."""
    lines = ["127.0.0.1 localhost", f"{hosts.gateway} gateway", *(f"{host.address} {host.name}" for host in hosts)]
    (ETC / name).mkdir(parents=True, exist_ok=True)
    (ETC / name / "hosts").write_text("\n".join(lines) + "\n")


def _free_net() -> str:
    """The first three numbers of a private network that no interface of the machine is in."""
    used = {info["local"] for link in json.loads(_ip("-j", "addr")) for info in link["addr_info"]}
    first = os.getpid() * 7 + next(_counter)
    for number in range(first, first + 1000):
        net = f"10.{100 + number // 256 % 100}.{number % 256}"
        if not any(address.startswith(f"{net}.") for address in used):
            return net
    raise RuntimeError("no private network is free")


def _make_home(folder: Path, number: int) -> Path:
    home = folder / f"h{number}"
    home.mkdir()
    return home


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _batch(*lines: str, namespace: str = "") -> None:
    inside = ["-n", namespace] if namespace else []
    done = subprocess.run(["ip", *inside, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the hosts cannot be made: {done.stderr.strip()}")
