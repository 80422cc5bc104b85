"""`python -m benchmarks.many_runs --database postgres|sqlite`: eight runs at once in one home.

Four ingestions of different datasets, two pretrainings and two evaluations start together, each as its own
`dagster job execute`, on simulated archives and with small settings. The databases are empty, so that all eight also
make the tables of Dagster and MLflow at once. Every run must succeed, after it has waited for others where it must;
none may print a stack or that a database is locked. `--restarts 10` restarts PostgreSQL at random moments meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cluster import postgres
from benchmarks.overlap import EVALUATION, HEIGHT, NETWORK, TRAINING
from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from store.processes import end_with_parent

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions")
STUDIES, SIZE = 40, 32
INGESTED = ("phantom", "open_i", "covid_chestxray", "chexpert")
TASKS = {"radalign/tasks": "zero_shot_classification"}
SHORT = {"max_steps": 2, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "threads": 1}
FAULTS = re.compile(r"database is locked|Traceback \(most recent call last\)|Stack Trace", re.IGNORECASE)
WAITING = re.compile(r"waiting for it")
PATIENCE = 3000.0  # seconds for one run


@dataclass
class Run:
    """One of the runs: a job, the dataset that it is on, and its settings."""

    job: str
    cohort: str = "phantom"
    ops: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    status: int | None = None
    seconds: float = 0.0
    printed: str = ""

    @property
    def faults(self) -> list[str]:
        """Words that no run may print."""
        return sorted({found.group(0) for found in FAULTS.finditer(self.printed)})

    @property
    def good(self) -> bool:
        """Whether the run succeeded and printed nothing that it must not print."""
        return self.status == 0 and not self.faults


def ingestion(cohort: str) -> Run:
    """From the archive of a dataset to its shards."""
    return Run("ingest", cohort)


def pretraining(method: str) -> Run:
    """A few steps, and one task of the evaluation."""
    training = {**TRAINING, "method_config": NETWORK} if method == "medklip" else SHORT
    return Run(
        f"pretrain_{method}", ops={f"pretrained__{method}": training}, resources={"evaluation": EVALUATION}, tags=TASKS
    )


def evaluation(task: str) -> Run:
    """One task of the network that was trained beforehand, on its dataset and on another one."""
    settings = {**EVALUATION, "cohorts": ["rsna_pneumonia"], "fractions": [0.1]}
    return Run("evaluate_medklip", resources={"evaluation": settings}, tags={"radalign/tasks": task})


EIGHT = (
    *map(ingestion, INGESTED),
    pretraining("convirt"),
    pretraining("gloria"),
    evaluation("zero_shot_classification"),
    evaluation("linear_probe"),
)


class Place:
    """Archives and a home, in which a network was trained beforehand."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.home, self.environment = folder, folder / "home", dict(environment)
        simulate(folder / "phantom", PhantomConfig(studies=STUDIES, height=HEIGHT))
        few = simulate_studies(PhantomConfig(studies=STUDIES, height=HEIGHT), STUDIES)
        for cohort in INGESTED[1:]:
            layout_writer(cohort)(folder / cohort, few)

    def train_beforehand(self) -> None:
        """What the evaluations evaluate, with databases of its own; a folder that was kept has it already."""
        if (self.home / "checkpoints" / "medklip" / "phantom.json").exists():
            return
        run = self.finish(pretraining("medklip"), self.start(pretraining("medklip"), 99, first=True))
        if not run.good:
            raise SystemExit(f"The pretraining before the eight runs failed:\n{run.printed[-3000:]}")
        for name in ("dagster", "mlflow.db", "mlflow.lock"):  # the eight begin with empty databases
            path = self.home / name
            if path.exists():
                path.rename(self.folder / f"before-{name}")

    def start(self, run: Run, number: int, first: bool = False) -> tuple[subprocess.Popen[bytes], Path, float]:
        """Start a run; its output goes to a file."""
        workspace = {"home": str(self.home), "cohort": run.cohort, "archive_root": str(self.folder / run.cohort)}
        ops = {"images": {"size": SIZE}, "inventory": {"batch_size": 10}, **run.ops}
        if run.job.startswith("evaluate"):
            ops = dict(run.ops)
        config = {
            "ops": {name: {"config": settings} for name, settings in ops.items()},
            "resources": {name: {"config": one} for name, one in {"workspace": workspace, **run.resources}.items()},
        }
        path, log = self.folder / f"run{number}.yaml", self.folder / f"run{number}.log"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, *COMMAND, "-j", run.job, "-c", str(path)]
        if run.tags:
            command += ["--tags", json.dumps(dict(run.tags))]
        environment = {**os.environ, "RADALIGN_HOME": str(self.home), "DAGSTER_HOME": str(CHECKOUT)}
        environment |= {"OMP_NUM_THREADS": "1", **({} if first else self.environment)}
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env=environment, stdout=file, stderr=file, preexec_fn=end_with_parent
            )
        return process, log, time.monotonic()

    def finish(self, run: Run, started: tuple[subprocess.Popen[bytes], Path, float]) -> Run:
        """Wait for the end of a run."""
        process, log, begun = started
        try:
            run.status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            run.status = process.wait()
        run.seconds = time.monotonic() - begun
        run.printed = log.read_text(encoding="utf-8", errors="replace")
        return run

    def run_together(self, runs: Sequence[Run]) -> list[Run]:
        """Start all at once, and wait for all."""
        started = [self.start(run, number) for number, run in enumerate(runs)]
        ended: list[Run] = [*runs]
        waiting = [threading.Thread(target=self.finish, args=pair) for pair in zip(runs, started, strict=True)]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        return ended

    def trainings_recorded(self) -> dict[str, str]:
        """Name of every training that MLflow knows -> how it ended; a doubled one has a name of its own."""
        code = (
            "import json, sys; from pathlib import Path; from tracking.store import connect\n"
            "client, experiment = connect(Path(sys.argv[1]))\n"
            "found = client.search_runs([experiment])\n"
            "print(json.dumps([[run.info.run_name, run.info.status] for run in found]))"
        )
        environment = {**os.environ, "RADALIGN_HOME": str(self.home), **self.environment}
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.home)], cwd=CHECKOUT, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            return {done.stderr[-300:]: "UNREADABLE"}
        found: dict[str, str] = {}
        for name, status in json.loads(done.stdout.splitlines()[-1]):
            found[f"{name} (again)" if name in found else name] = status
        return found

    def runs_recorded(self) -> list[str]:
        """How every run in the history of Dagster ended."""
        code = "import dagster as dg; print(','.join(run.status.value for run in dg.DagsterInstance.get().get_runs()))"
        environment = {**os.environ, "RADALIGN_HOME": str(self.home), "DAGSTER_HOME": str(CHECKOUT), **self.environment}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()[-1].split(",")


@contextmanager
def restarting(server: postgres.Server | None, times: int, seed: int) -> Iterator[list[str]]:
    """Restart a server at random moments meanwhile; gives what was done."""
    done: list[str] = []
    if server is None or not times:
        yield done
        return
    over, draw = threading.Event(), random.Random(seed)

    def restart() -> None:
        for _ in range(times):
            if over.wait(draw.uniform(2, 12)):
                return
            immediate, down = draw.random() < 0.5, draw.uniform(0, 4)
            server.restart(immediate, down)
            done.append(f"{'immediate' if immediate else 'graceful'}, {down:.1f} s down")

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def main(arguments: Sequence[str]) -> int:
    """Run the eight, and print what became of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_runs", description=__doc__)
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--runs", type=int, default=len(EIGHT), help="how many; the eight are repeated or cut off")
    parser.add_argument("--restarts", type=int, default=0, help="of PostgreSQL, at random moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for archives, home and logs, instead of a temporary one")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="radalign-many-")))
        folder.mkdir(parents=True, exist_ok=True)
        server, environment = None, {}
        if options.database == "postgres":
            if reason := postgres.missing():
                raise SystemExit(reason)
            server = stack.enter_context(postgres.running())
            environment = {"RADALIGN_DATABASE": server.url("dagster"), "RADALIGN_MLFLOW": server.url("mlflow")}
        place = Place(folder, environment)
        place.train_beforehand()
        runs = [
            Run(one.job, one.cohort, one.ops, one.resources, one.tags) for one in islice(cycle(EIGHT), options.runs)
        ]
        with restarting(server, options.restarts, options.seed) as restarts:
            ended = place.run_together(runs)
        return report(ended, place, restarts)


def report(ended: Sequence[Run], place: Place, restarts: Sequence[str]) -> int:
    """Print a table of the runs; returns 1 where one is not as it must be."""
    lines = [f"{'run':<18}{'dataset':<18}{'exit':>5}{'waited':>8}{'seconds':>9}  must not be printed"]
    for run in ended:
        waited = "yes" if WAITING.search(run.printed) else "no"
        faults = ", ".join(run.faults) or "-"
        lines.append(f"{run.job:<18}{run.cohort:<18}{run.status:>5}{waited:>8}{run.seconds:>9.0f}  {faults}")
    statuses = place.runs_recorded()
    lines.append(f"\nruns in Dagster's history: {len(statuses)}, of which SUCCESS {statuses.count('SUCCESS')}")
    trainings = place.trainings_recorded()
    lines += [f"training in MLflow: {name}: {status}" for name, status in sorted(trainings.items())]
    lines += [f"PostgreSQL was restarted: {one}" for one in restarts]
    sys.stdout.write("\n".join(lines) + "\n")
    for run in ended:
        if not run.good:
            sys.stdout.write(f"\nlast lines of {run.job} on {run.cohort}:\n{run.printed[-2500:]}\n")
    recorded = statuses == ["SUCCESS"] * len(ended) and all(status == "FINISHED" for status in trainings.values())
    return 0 if recorded and all(run.good for run in ended) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
