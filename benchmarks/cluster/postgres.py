"""A PostgreSQL server of one's own, in a temporary folder, for tests and benchmarks.

    with postgres.running() as server:
        server.url("dagster")            # postgresql://radalign:...@127.0.0.1:PORT/dagster
        server.restart(immediate=True)   # as after a crash; connections break

`missing()` is a sentence where this machine has no PostgreSQL. PostgreSQL refuses to run as root: there it runs as an
unprivileged user.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from store.processes import end_with_parent

USER = "radalign"
DATABASES = ("dagster", "mlflow")
PROGRAMS = ("initdb", "postgres", "psql")
PACKAGED = "/usr/lib/postgresql"  # where Debian keeps programs that are not in PATH
UNPRIVILEGED = ("postgres", "nobody")
START_SECONDS = 60.0
SETTINGS = {  # a crash of the server loses nothing without fsync, only one of the machine does
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


def missing() -> str:
    """Why there can be no server here, in one sentence; empty where there can be."""
    lacking = [name for name in PROGRAMS if not _program(name)]
    if lacking:
        return f"PostgreSQL is not installed here ({', '.join(lacking)} not found): apt-get install postgresql."
    if os.geteuid() == 0 and not _unprivileged():
        return f"PostgreSQL does not run as root, and there is no user {' or '.join(UNPRIVILEGED)} to run it."
    return ""


class Server:
    """A server and its cluster of databases. `running` makes one."""

    def __init__(self, folder: Path, address: str, port: int, password: str) -> None:
        self.folder, self.address, self.port, self.password = folder, address, port, password
        self.process: subprocess.Popen[bytes] | None = None
        # The kernel ends the server with the thread that started it: one that lives as long as this process.
        self._starter = ThreadPoolExecutor(1)

    def url(self, database: str, password: str | None = None) -> str:
        """The address of a database, with the password of the server or another one."""
        return f"postgresql://{USER}:{password or self.password}@{self.address}:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command: list[str] = [_program("postgres"), "-D", str(self.folder / "data")]
        command += ["-h", self.address, "-p", str(self.port), "-k", str(self.folder)]
        command += [f"--{name}={value}" for name, value in SETTINGS.items()]
        self.process = process = self._starter.submit(self._launch, command).result()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}")
            time.sleep(0.05)

    def stop(self, immediate: bool = False) -> None:
        """Stop the server: sessions are ended and rolled back or, `immediate`, dropped as in a crash."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        self.process.wait()
        self.process = None

    def restart(self, immediate: bool = False, down: float = 0.0) -> None:
        """Stop and start, with `down` seconds in between; whoever is connected loses the connection."""
        self.stop(immediate)
        time.sleep(down)
        self.start()

    def create(self, database: str) -> str:
        """Make an empty database; returns its address."""
        self.query(f'create database "{database}"', "postgres")
        return self.url(database)

    def query(self, sql: str, database: str) -> list[list[str]]:
        """The rows that a statement gives, as text."""
        return [line.split("\t") for line in self._psql(sql, database, check=True).stdout.splitlines()]

    def log(self) -> str:
        """What the server has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Stop for good."""
        self.stop(immediate=True)
        self._starter.shutdown()

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                preexec_fn=partial(end_with_parent, signal.SIGINT),
                start_new_session=True,
                **_as_user(),
            )

    def _answers(self) -> bool:
        return self._psql("select 1", "postgres", check=False).returncode == 0

    def _psql(self, sql: str, database: str, check: bool) -> subprocess.CompletedProcess[str]:
        command = [_program("psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql]
        environment = {**os.environ, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"}
        place = ["-h", self.address, "-p", str(self.port), "-U", USER, "-d", database]
        return subprocess.run([*command, *place], env=environment, check=check, capture_output=True, text=True)


@contextmanager
def running(address: str = "127.0.0.1", databases: Sequence[str] = DATABASES) -> Iterator[Server]:
    """A new server on a free port of `address`, with empty databases; it and its files are gone afterwards."""
    if reason := missing():
        raise RuntimeError(reason)
    folder = Path(tempfile.mkdtemp(prefix="radalign-postgres-"))
    server = Server(folder, address, _free_port(address), secrets.token_urlsafe(12))
    try:
        _initialise(server)
        server.start()
        for name in databases:
            server.create(name)
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(server: Server) -> None:
    secret = server.folder / "password"
    secret.write_text(server.password)
    if os.geteuid() == 0:
        user = _unprivileged()
        assert user is not None
        for path in (server.folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    command: list[str] = [_program("initdb"), "-D", "data", "-U", USER, "--pwfile", secret.name, "--no-sync"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(command, cwd=server.folder, capture_output=True, text=True, check=False, **_as_user())
    secret.unlink()
    if done.returncode:
        raise RuntimeError(f"PostgreSQL did not make a cluster:\n{done.stderr}")
    with (server.folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")  # from other hosts, where the address is one of theirs


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    """Path of a program of PostgreSQL; empty where it is missing."""
    if found := shutil.which(name):
        return found
    packaged = sorted(Path(PACKAGED).glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return str(packaged[-1]) if packaged else ""


def _unprivileged() -> pwd.struct_passwd | None:
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _as_user() -> dict[str, Any]:
    """How a process is started as the user of the server."""
    user = _unprivileged() if os.geteuid() == 0 else None
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def main() -> None:
    """Run a server until Ctrl-C, to try things by hand."""
    with running() as server:
        sys.stdout.write("".join(f"{server.url(name)}\n" for name in DATABASES))
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
