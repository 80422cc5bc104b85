"""`python -m benchmarks.kills`: is what a killed ingestion leaves, completed, what one that was never killed leaves?

Runs `dagster job execute -j ingest` on a simulated archive, some of whose files are damaged. Then, for every round, in
an empty home: the same command, `kill -9` at a random moment of it, and the same command again. Every file of the
home (tables, shards, plans, manifest) has to be the same, byte for byte, and no process may outlive a killed run.
"""

from __future__ import annotations

import argparse
import hashlib
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

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from store.atomic import PARTIAL

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "ingest", "-c", "run.yaml")
SURVIVAL_SECONDS = 10  # after which a child of a killed run must be gone
BATCH, HEIGHT, SIZE = 15, 160, 64


class Place:
    """An archive, and runs of the job on it, each with a home of its own."""

    def __init__(self, folder: Path, studies: int) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        simulate(self.archive, PhantomConfig(studies=studies, height=HEIGHT))
        damage(self.archive)
        shutil.copy(CHECKOUT / "dagster.yaml", folder)

    def config(self, home: Path) -> dict[str, Any]:
        """What the job is run with."""
        workspace = {"home": str(home), "cohort": "phantom", "archive_root": str(self.archive)}
        return {
            "ops": {"inventory": {"config": {"batch_size": BATCH}}, "images": {"config": {"size": SIZE}}},
            "resources": {"workspace": {"config": workspace}},
        }

    def start(self, home: Path) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own."""
        (self.folder / "run.yaml").write_text(yaml.safe_dump(self.config(home)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RADALIGN_")}
        with self._log(home).open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *COMMAND],
                cwd=self.folder,
                env={**environment, "PYTHONPATH": str(CHECKOUT)},
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

    def interrupt(self, home: Path, seconds: float) -> None:
        """Run the command and kill it after some seconds."""
        process = self.start(home)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(process)

    def _log(self, home: Path) -> Path:
        return self.folder / f"{home.name}.log"


def kill(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` the process that leads a session; its children have to go by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    expect_nobody(process.pid)


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
            raise SystemExit(f"processes {members} outlived the run that was killed")
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


def content(home: Path) -> dict[str, str]:
    """Digest of every file of a home by its name; what a killed process had begun to write is no file of it."""
    files = (path for path in sorted(home.rglob("*")) if path.is_file() and path.suffix != PARTIAL)
    return {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def difference(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Names of the files that are not the same, or that only one of the two has."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def main() -> int:
    """Kill and compare; the exit status is 1 if anything differed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--studies", type=int, default=90)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options.studies)
        whole = place.complete(Path(folder) / "never")
        expected = content(Path(folder) / "never")
        sys.stdout.write(f"seed {options.seed}; never killed: {whole:.1f} s, {len(expected)} files\n")
        for number in range(options.kills):
            moment, home = rng.uniform(0, whole), Path(folder) / str(number)
            place.interrupt(home, moment)
            place.complete(home)
            wrong = difference(expected, content(home))
            different += bool(wrong)
            sys.stdout.write(f"killed after {moment:5.1f} s: {', '.join(wrong) or 'identical'}\n")
            sys.stdout.flush()
            shutil.rmtree(home)
    sys.stdout.write(f"{options.kills - different} of {options.kills} identical\n")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
