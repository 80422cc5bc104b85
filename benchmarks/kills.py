"""`python -m benchmarks.kills`: is what a killed run leaves, completed, what one that was never killed leaves?

Runs `dagster job execute -j ingest`, or with `--job pretrain_medklip` also the training, the evaluation and the tables,
on a simulated archive, some of whose files are damaged. Then, for every round, in an empty home: the same command,
`kill -9` of the run or with `--children` of a process that it started (a decoder, the trainer) at a random moment, and
the same command again. Every number and every file of the home has to be the same (`benchmarks.homes`), and no process
may outlive a killed run.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.homes import find_differences, list_files, read_numbers
from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-c", "run.yaml")
JOBS = ("ingest", "pretrain_medklip")
SURVIVAL_SECONDS = 10  # after which a child of a killed run must be gone
BATCH, HEIGHT, SIZE = 15, 160, 64
NETWORK = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
TRAINING = {"max_steps": 6, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "checkpoint_every": 2, "threads": 1}
TIMED = "checkpoints/*/checkpoints/*"  # states of a training hold how long it took
OWN_IDS = ("checkpoints/medklip/phantom.json", "checkpoints/medklip/runs/", "results/")  # name runs of MLflow


class Place:
    """An archive, and runs of the job on it with the code of `checkout`, each with a home of its own."""

    def __init__(self, folder: Path, studies: int, job: str = "ingest", checkout: Path = CHECKOUT) -> None:
        self.folder, self.job, self.checkout = folder, job, checkout
        self.archive = folder / "archive"
        simulate(self.archive, PhantomConfig(studies=studies, height=HEIGHT))
        damage(self.archive)
        shutil.copy(checkout / "dagster.yaml", folder)

    def config(self, home: Path) -> dict[str, Any]:
        """What the job is run with."""
        workspace = {"home": str(home), "cohort": "phantom", "archive_root": str(self.archive)}
        ops: dict[str, Any] = {"inventory": {"config": {"batch_size": BATCH}}, "images": {"config": {"size": SIZE}}}
        if self.job != "ingest":
            ops["pretrained__medklip"] = {"config": {**TRAINING, "method_config": NETWORK}}
        return {"ops": ops, "resources": {"workspace": {"config": workspace}}}

    def start(self, home: Path) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        (self.folder / "run.yaml").write_text(yaml.safe_dump(self.config(home)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RADALIGN_")}
        with self._log(home).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *COMMAND, "-j", self.job],
                cwd=self.folder,
                env={**environment, "PYTHONPATH": str(self.checkout), "RADALIGN_HOME": str(self.folder / "history")},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def complete(self, home: Path) -> float:
        """Run the command to its end; returns its seconds."""
        start = time.monotonic()
        if self.start(home).wait() != 0:
            raise SystemExit(self._log(home).read_text(errors="replace")[-4000:])
        return time.monotonic() - start

    def interrupt(self, home: Path, seconds: float, rng: random.Random | None = None) -> None:
        """Run the command and kill it after some seconds, or with `rng` one of the processes that it started."""
        process = self.start(home)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            if rng is None:
                kill(process)
            else:
                kill_child(process, rng)
                process.wait()

    def _log(self, home: Path) -> Path:
        return self.folder / f"{home.name}.log"


def kill(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` the process that leads a session; its children have to go by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    expect_nobody(process.pid)


def kill_child(process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """`kill -9` one of the processes of a session that are not its leader; none where there is none."""
    children = sorted(set(session_members(process.pid)) - {process.pid})
    if children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(children), signal.SIGKILL)


def damage(archive: Path) -> None:
    """Spoil some files, so that there is something to reject: an image cut short, one gone, an empty report."""
    images, reports = sorted(archive.glob("files/*/*/*/*.dcm")), sorted(archive.glob("files/*/*/*.txt"))
    images[0].write_bytes(images[0].read_bytes()[:-2000])
    images[len(images) // 2].unlink()
    reports[-1].write_text(" \n")


def expect_nobody(session: int, patience: float = SURVIVAL_SECONDS) -> None:
    """Wait until no process of a session is left; SystemExit names those that stay."""
    deadline = time.monotonic() + patience
    while members := session_members(session):
        if time.monotonic() > deadline:
            named = ", ".join(f"{pid} ({command_of(pid)})" for pid in members)
            raise SystemExit(f"processes outlived the run that was killed: {named}")
        time.sleep(0.1)


def session_members(session: int) -> list[int]:
    """Processes of a session that run."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(owner) == session and state != "Z":
            members.append(int(path.parent.name))
    return members


def command_of(pid: int) -> str:
    """What a process was started with."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return "gone"


def compare(expected: Path, found: Path) -> list[str]:
    """What is not the same in two homes: numbers, and files without times and without ids of MLflow's runs."""
    one, other = read_numbers(expected), read_numbers(found)
    numbers = [str(key) for key in one.keys() | other.keys() if one.get(key) != other.get(key)]
    if one:  # after a training
        names = [name for name in find_differences(expected, found) if not name.startswith(OWN_IDS)]
        return numbers + [name for name in names if not fnmatch.fnmatch(name, TIMED)]
    return numbers + find_differences(expected, found)


def main() -> int:
    """Kill and compare; the exit status is 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=90)
    parser.add_argument("--job", choices=JOBS, default=JOBS[0])
    parser.add_argument("--children", action="store_true", help="kill a process that the run started, not the run")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        place, never = Place(Path(folder), options.studies, options.job), Path(folder) / "never"
        home = Path(folder) / "home"  # the same path for all: it is in the configuration of a training
        whole = place.complete(home)
        home.rename(never)
        sys.stdout.write(f"seed {options.seed}; never killed: {whole:.1f} s, {len(list_files(never))} files\n")
        for _ in range(options.kills):
            moment = rng.uniform(0, whole)
            place.interrupt(home, moment, rng if options.children else None)
            place.complete(home)
            wrong = compare(never, home)
            different += bool(wrong)
            sys.stdout.write(f"killed after {moment:5.1f} s: {', '.join(wrong) or 'identical'}\n")
            sys.stdout.flush()
            shutil.rmtree(home)
    sys.stdout.write(f"{options.kills - different} of {options.kills} identical\n")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
