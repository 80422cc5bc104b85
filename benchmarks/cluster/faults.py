"""`python -m benchmarks.cluster.faults --kind worker`: does an ingestion on several hosts survive, and change nothing?

Simulated hosts (`benchmarks.cluster.hosts`) run Ray: a head, on which the command is given, and workers. They share a
folder as the home, and the history is in PostgreSQL on the machine itself. First the same job runs on one machine,
undisturbed. Then, for each try, in a home without the batches of the stages `--lost` (all, unless some are named), the
job runs on the hosts and something happens at a random moment:

- worker: a worker loses power, and starts again
- head: the head loses power with the command that runs on it, and starts again
- cut: a worker is cut off from all others for `--seconds`, and is back
- planners: a second host gives the same command
- postgres: the database is killed, and starts again
- store: the home is a bucket, whose store answers 503 and breaks connections off during the whole run

Where the command ended early it is given again, as a person would. Every file of the home has to be that of the machine
alone, byte for byte, and none may be there besides. The exit status is 1 if anything differed, or the command did not
come to its end in `--runs` runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cluster import object_store, postgres, ray
from benchmarks.cluster.hosts import UNAVAILABLE, Host, Hosts, available, simulate_hosts
from benchmarks.homes import find_differences, list_files
from benchmarks.kills import Place

COHORT = "phantom"
RUN_SECONDS = 1800.0
DOWN_SECONDS = 3.0  # of a host or a database that starts again
OWN = (".remote/", "dagster/")  # of one machine, in a mirror
FAULTS = {"slow_down": 0.1, "half_close": 0.05, "delay": 0.02}  # shares of the requests, seconds
COMMAND = ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "ingest")


class Bench:
    """Hosts, their services and a home that was made on one machine."""

    def __init__(
        self, folder: Path, hosts: Hosts, database: postgres.Server, studies: int, lost: Sequence[str], runs: int
    ) -> None:
        self.folder, self.hosts, self.database, self.lost, self.most_runs = folder, hosts, database, lost, runs
        self.place = Place(folder, studies)
        self.home, self.never = folder / "home", folder / "never"
        self.address = str(self.home)  # or that of a bucket
        self.environment = {"RADALIGN_DATABASE": database.url("dagster"), "OMP_NUM_THREADS": "1"}
        self.seconds = self.place.complete(self.home)
        self.home.rename(self.never)
        self.cluster = ray.Cluster(hosts, self.environment, 1)

    def start_cluster(self) -> None:
        """Start Ray on all hosts, or on those that the head has given up or does not know yet."""
        if not self.cluster.alive():
            for host in self.hosts:
                host.kill()
            self.cluster.start_head()
        for host in self.cluster.workers:
            if host.address not in self.cluster.alive():
                host.kill()
                self.cluster.start_worker(host)
        self.cluster.await_workers(len(self.cluster.workers))

    def restore(self) -> None:
        """The home as one machine left it, without the batches that are lost."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.lost and self.address == str(self.home):
            shutil.copytree(self.never, self.home, symlinks=True)
            for stage in self.lost:
                shutil.rmtree(self.home / COHORT / stage)

    def start(self, host: Host) -> subprocess.Popen[bytes]:
        """Give the command on a host."""
        config: dict[str, Any] = self.place.config(self.home)
        config["resources"]["workspace"]["config"]["home"] = self.address
        config["execution"] = {"config": {"ray": {"patience_seconds": 60.0}}}
        path = self.folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(config))
        own = {"RADALIGN_HOME": str(self.folder / "history"), "RAY_ADDRESS": self.cluster.address}
        if self.address != str(self.home):
            own |= {"RADALIGN_HOME": self.address, "RADALIGN_MIRROR": str(self.home)}
        environment = {**self.environment, **own}
        return host.start(
            [sys.executable, *COMMAND, "-c", str(path)], environment, self.folder, self.folder / "runs.log"
        )

    def complete(self, process: subprocess.Popen[bytes], host: Host) -> int:
        """Wait for the command, and give it again where it ended early; returns how many runs it took."""
        for count in range(1, self.most_runs + 1):
            if process.wait(RUN_SECONDS) == 0:
                return count
            self.start_cluster()
            process = self.start(host)
        _end(process)
        return self.most_runs + 1

    def measure(self) -> float:
        """Run the command undisturbed; returns its seconds."""
        self.restore()
        start = time.monotonic()
        ended = self.start(self.cluster.head).wait(RUN_SECONDS)
        wrong = self.compare()
        if ended or wrong:
            raise SystemExit(f"undisturbed: {self.log()[-3000:]} {wrong}")
        return time.monotonic() - start

    def log(self) -> str:
        """What the runs have printed."""
        return (self.folder / "runs.log").read_text(errors="replace")

    def compare(self) -> list[str]:
        """Names of files that are not as one machine made them."""
        if self.address != str(self.home):
            code = (
                "import sys; from pathlib import Path; from store.remote import mirror; home = Path(sys.argv[1]); "
                f"mirror.refresh(home); mirror.bring_below(home / '{COHORT}'); "
                "[mirror.fetch(home / name) for name in sys.stdin.read().splitlines()]"
            )
            own = {"RADALIGN_HOME": self.address, "RADALIGN_MIRROR": str(self.home)}
            names = self.folder / "names"
            names.write_text("\n".join(sorted(list_files(self.never))))
            command = ["sh", "-c", f'exec "$@" < {names}', "sh", sys.executable, "-c", code, str(self.home)]
            done = self.hosts[0].run(command, {**self.environment, **own})
            if done.returncode:
                return [done.stderr[-500:]]
        return [name for name in find_differences(self.never, self.home) if not name.startswith(OWN)]


def lose_worker(bench: Bench, rng: random.Random, seconds: float) -> None:
    """A worker loses power, and starts again."""
    host = rng.choice(bench.cluster.workers)
    host.kill()
    time.sleep(DOWN_SECONDS)
    bench.cluster.start_worker(host)


def lose_head(bench: Bench, rng: random.Random, seconds: float) -> None:
    """The head loses power, and starts again; its workers are started again as well, as Ray's documentation says."""
    bench.cluster.head.kill()
    time.sleep(DOWN_SECONDS)
    for host in bench.cluster.workers:
        host.kill()
    bench.start_cluster()


def cut_worker(bench: Bench, rng: random.Random, seconds: float) -> None:
    """A worker is cut off, and is back; Ray gives it up meanwhile."""
    host = rng.choice(bench.cluster.workers)
    host.cut()
    time.sleep(seconds)
    host.join()


def plan_twice(bench: Bench, rng: random.Random, seconds: float) -> None:
    """A worker's host gives the same command."""
    host = bench.cluster.workers[0]
    if bench.complete(bench.start(host), host) > bench.most_runs:
        raise SystemExit("the second planner did not come to its end")


def lose_database(bench: Bench, rng: random.Random, seconds: float) -> None:
    """PostgreSQL is killed, and starts again."""
    bench.database.restart(immediate=True, down=DOWN_SECONDS)


def do_nothing(bench: Bench, rng: random.Random, seconds: float) -> None:
    """The store makes faults all the time."""


KINDS: dict[str, Callable[[Bench, random.Random, float], None]] = {
    "worker": lose_worker,
    "head": lose_head,
    "cut": cut_worker,
    "planners": plan_twice,
    "postgres": lose_database,
    "store": do_nothing,
}


def try_once(bench: Bench, kind: str, rng: random.Random, whole: float, seconds: float) -> tuple[float, int, list[str]]:
    """Disturb a run; returns the moment in seconds, how many runs it took, and what differs."""
    bench.start_cluster()
    bench.restore()
    host, moment = bench.cluster.head, rng.uniform(0, whole)
    process = bench.start(host)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    KINDS[kind](bench, rng, seconds)
    runs = bench.complete(process, host)
    return moment, runs, bench.compare()


@contextlib.contextmanager
def running_store(bench: Bench, seed: int) -> Iterator[None]:
    """Have a store that makes faults, which all hosts know."""
    with object_store.running(bench.hosts.gateway) as store, store.faulty(bench.hosts.gateway, seed, **FAULTS) as proxy:
        bench.environment |= proxy.environment()
        yield


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, 9)
    process.wait()


def main() -> int:
    """Disturb and compare; the exit status is 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster.faults", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True, nargs="+")
    parser.add_argument("--times", type=int, default=10, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hosts", type=int, default=3, help="a head and workers")
    parser.add_argument("--studies", type=int, default=90)
    parser.add_argument("--seconds", type=float, default=30.0, help="for which a host is cut off")
    parser.add_argument("--lost", nargs="*", default=[], metavar="STAGE", help="e.g. images: shorter runs")
    parser.add_argument("--runs", type=int, default=3, help="how often the command is given at most")
    options = parser.parse_args()
    if reason := ray.missing() or postgres.missing() or ("" if available() else UNAVAILABLE):
        raise SystemExit(reason)
    rng, failed = random.Random(options.seed), 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = stack.enter_context(simulate_hosts(options.hosts))
        database = stack.enter_context(postgres.running(hosts.gateway))
        bench = Bench(folder, hosts, database, options.studies, options.lost, options.runs)
        if "store" in options.kind:
            stack.enter_context(running_store(bench, options.seed))
        bench.cluster = ray.Cluster(hosts, bench.environment, 1)
        bench.start_cluster()
        whole = bench.measure()
        times = f"{bench.seconds:.0f} s on one machine, {whole:.0f} s on {len(hosts)} hosts"
        say(f"seed {options.seed}; undisturbed: {times}, identical")
        tries = [kind for _ in range(options.times) for kind in options.kind]
        for number, kind in enumerate(tries):
            remote = f"s3://{object_store.BUCKET}/try{number}"
            bench.address = remote if kind == "store" else str(bench.home)
            moment, runs, wrong = try_once(bench, kind, rng, whole, options.seconds)
            failed += bool(wrong) or runs > options.runs
            say(f"{kind} after {moment:5.1f} s: {runs} runs, {', '.join(wrong) or 'identical'}")
            if wrong or runs > options.runs:
                say(bench.log()[-3000:])
    say(f"{len(tries) - failed} of {len(tries)} complete and identical")
    return int(failed > 0)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
