"""`python -m benchmarks.overlap`: pairs of jobs with different settings, started together in one home.

A round draws two jobs (ingest or pretrain_medklip) with an image size, a batch size and a seed of the label fractions
each, and starts both on a small simulated archive in a home that earlier rounds have filled. One of them may be paused
for some seconds. Afterwards both must have succeeded, every result must have the data version that its network was
trained on, every network must have results, and the tables must hold every image of the archive once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import yaml

from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from shards.manifest import Manifest

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = ("-m", "dagster", "job", "execute", "-m", "pipelines.definitions")
JOBS = ("ingest", "pretrain_medklip")
SIZES, BATCHES, SEEDS = (32, 40, 48, 56), (10, 15, 40), (0, 1, 2)
STUDIES, HEIGHT = 40, 64
NETWORK = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
EVALUATION = {
    "fine_tune": {"maximum_steps": 1},
    "segmentation": {"maximum_steps": 1},
    "detection": {"maximum_steps": 1},
}
TRAINING = {"max_steps": 2, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "threads": 1}


@dataclass(frozen=True)
class Asked:
    """A job and what makes its tables different from those of another."""

    job: str
    size: int
    batch_size: int
    seed: int
    pause: float  # seconds into the run at which it is stopped for a while; 0: never

    @classmethod
    def draw(cls, rng: random.Random) -> Asked:
        """A random one."""
        pause = rng.choice((0.0, 0.0, rng.uniform(5, 20)))
        return cls(rng.choice(JOBS), rng.choice(SIZES), rng.choice(BATCHES), rng.choice(SEEDS), pause)

    def config(self, home: Path, archive: Path) -> dict[str, Any]:
        """What the job is run with."""
        ops: dict[str, Any] = {
            "inventory": {"config": {"batch_size": self.batch_size}},
            "images": {"config": {"size": self.size}},
            "subsets": {"config": {"seed": self.seed}},
        }
        if self.job != "ingest":
            ops["pretrained__medklip"] = {"config": {**TRAINING, "method_config": NETWORK}}
        workspace = {"home": str(home), "cohort": "phantom", "archive_root": str(archive)}
        resources: dict[str, Any] = {"workspace": {"config": workspace}}
        if self.job != "ingest":
            resources["evaluation"] = {"config": EVALUATION}
        return {"ops": ops, "resources": resources}


class Place:
    """An archive, and a home in which pairs of jobs run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.archive = folder, folder / "home", folder / "archive"
        simulate(self.archive, PhantomConfig(studies=STUDIES, height=HEIGHT))
        shutil.copy(CHECKOUT / "dagster.yaml", folder)

    def run_pair(self, pair: tuple[Asked, Asked], patience: float = 900) -> list[str]:
        """Start two jobs together and wait for both; returns what is wrong afterwards."""
        processes = [self._start(number, asked) for number, asked in enumerate(pair)]
        begun = time.monotonic()
        try:
            self._pause(pair, processes, begun)
            ended = [process.wait(patience) for process in processes]
        finally:
            for process in processes:
                process.kill()
        wrong = [
            f"{asked}: exit status {status}, see its last lines:\n{self._log(number).read_text()[-3000:]}"
            for number, (asked, status) in enumerate(zip(pair, ended, strict=True))
            if status
        ]
        return wrong or self.find_faults()

    def find_faults(self) -> list[str]:
        """What is not as it must be in the home."""
        trained = self.data_versions()
        rows = self._query(
            f"select distinct checkpoint, data_version from '{self.home}/results/*.parquet' where source = 'measured'"
        )
        faults = [
            f"a result of {checkpoint[:8]} is on {version[:8]}, which is not what it was trained on"
            for checkpoint, version in rows
            if version not in trained.get(checkpoint, ())
        ]
        faults += [f"{one[:8]} has no results" for one in trained.keys() - {checkpoint for checkpoint, _ in rows}]
        tables = [f"'{self.home}/phantom/{name}/{name}.parquet'" for name in ("studies", "rejects")]
        images = self._query(f"select image_id from {tables[0]} union all select image_id from {tables[1]}")
        if not len(images) == len(set(images)) == STUDIES:
            faults.append(f"the tables hold {len(images)} rows of {len(set(images))} images, not {STUDIES}")
        for folder in [self.home / "phantom" / "shards", *self.home.glob("phantom/versions/*/shards")]:
            Manifest.load(folder, verify=True)
        return faults

    def data_versions(self) -> dict[str, set[str]]:
        """Digest of the weights of every finished run, trained and untrained -> what it was trained on.

        Runs on several data versions may begin with the same weights.
        """
        found: dict[str, set[str]] = {}
        for path in self.home.glob("checkpoints/*/*/result.json"):
            result, origin = json.loads(path.read_text()), json.loads((path.parent / "origin.json").read_text())
            for name in ("checkpoint_digest", "untrained_digest"):
                found.setdefault(result[name], set()).add(origin["data_version"])
        return found

    def _query(self, sql: str) -> list[Any]:
        return duckdb.execute(sql).fetchall()

    def _start(self, number: int, asked: Asked) -> subprocess.Popen[bytes]:
        config = self.folder / f"run{number}.yaml"
        config.write_text(yaml.safe_dump(asked.config(self.home, self.archive)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RADALIGN_")}
        with self._log(number).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *COMMAND, "-j", asked.job, "-c", config.name],
                cwd=self.folder,
                env={**environment, "PYTHONPATH": str(CHECKOUT), "RADALIGN_HOME": str(self.home)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _pause(self, pair: tuple[Asked, Asked], processes: list[subprocess.Popen[bytes]], begun: float) -> None:
        for asked, process in zip(pair, processes, strict=True):
            if asked.pause:
                time.sleep(max(0.0, begun + asked.pause - time.monotonic()))
                if process.poll() is None:
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(asked.pause)
                    process.send_signal(signal.SIGCONT)

    def _log(self, number: int) -> Path:
        return self.folder / f"run{number}.log"


def main() -> int:
    """Run the rounds; the exit status is 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, failed = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for number in range(options.rounds):
            pair = (Asked.draw(rng), Asked.draw(rng))
            wrong = place.run_pair(pair)
            failed += bool(wrong)
            sys.stdout.write(f"{number}: {pair[0]} with {pair[1]}: {'; '.join(wrong) or 'right'}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{options.rounds - failed} of {options.rounds} rounds right\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
