"""`python -m benchmarks.faults`: one fault at a time in a finished home, then the same command again.

A small home is made by two jobs: `pretrain_medklip`, and `evaluate_medklip` on its own dataset and one with masks.
Then, for every kind of file and every damage: the home is restored, one file of this kind is damaged, and both jobs run
again with the same settings. Other faults are an archive that goes away while its images are read
(`benchmarks.outages`), and two runs of the same command at once in a damaged home. Of every fault it is said what
became of it:

- healed: no number differs, and every file of the undamaged home is there again, byte for byte,
  except a state from which a finished training could be resumed,
- stopped: a step ended with one sentence, and no number was stored that differs,
- WRONG: a number differs, a file is not as it was, or something ended with an error of ours.

What was set aside, locks, logs and records of the runs themselves (MLflow, `runs/`) are not compared, nor are the
seconds that a training took. The exit status is 1 if a fault is WRONG.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.homes import find_differences, list_files, read_numbers
from benchmarks.outages import OUTAGES
from cohorts.phantom.archive import simulate
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from pipelines.definitions import defs

STUDIES, HEIGHT, SIZE = 40, 64, 48
DATASET = "siim_pneumothorax"  # with masks
ROOT = f"RADALIGN_{DATASET.upper()}_ROOT"
BRIEF = {"maximum_steps": 1, "epochs": 1, "batch_size": 8}
JOBS = ("pretrain_medklip", "evaluate_medklip")
STAGES = ("images", "reports", "triplets", "shards")
POLL_SECONDS = 0.002
SENTENCE = "sentence: "  # begins what a step ended with, where the user can mend it
HEALED, STOPPED, WRONG = "healed", "stopped", "WRONG"

# Name -> pattern of its files in a home. The first file in alphabetical order is damaged.
KINDS = {
    "inventory batch": "phantom/inventory/????????????????????.parquet",
    "inventory plan": "phantom/inventory/plan.parquet",
    "inventory members": "phantom/inventory/members.parquet",
    "inventory sources": "phantom/inventory/sources.parquet",
    "inventory rejects": "phantom/inventory/rejects.parquet",
    "images batch": "phantom/images/????????????????????.parquet",
    "images rejects": "phantom/images/????????????????????.rejects.parquet",
    "images plan": "phantom/images/plan.parquet",
    "reports batch": "phantom/reports/????????????????????.parquet",
    "triplets batch": "phantom/triplets/????????????????????.parquet",
    "shard": "phantom/shards/????????????????????.parquet",
    "shards plan": "phantom/shards/plan.parquet",
    "manifest": "phantom/shards/manifest.json",
    "studies": "phantom/studies/studies.parquet",
    "rejects": "phantom/rejects/rejects.parquet",
    "subsets": "phantom/subsets/subsets.parquet",
    "subsets settings": "phantom/subsets/settings.json",
    "knowledge": "phantom/knowledge/knowledge.parquet",
    "regions": f"{DATASET}/regions/regions.parquet",
    "masks dataset shard": f"{DATASET}/shards/????????????????????.parquet",
    "masks dataset state": f"{DATASET}/downstream.json",
    "version of studies": "phantom/versions/*/studies/studies.parquet",
    "version of manifest": "phantom/versions/*/shards/manifest.json",
    "version of regions": f"{DATASET}/versions/*/regions/regions.parquet",
    "weights": "checkpoints/medklip/*/weights.safetensors",
    "untrained weights": "checkpoints/medklip/*/untrained.safetensors",
    "result of a training": "checkpoints/medklip/*/result.json",
    "model card": "checkpoints/medklip/*/model.json",
    "origin": "checkpoints/medklip/*/origin.json",
    "metrics": "checkpoints/medklip/*/metrics.jsonl",
    "checkpoint state": "checkpoints/medklip/*/checkpoints/*/state.pt",
    "checkpoint card": "checkpoints/medklip/*/checkpoints/*/checkpoint.json",
    "latest run": "checkpoints/medklip/phantom.json",
    "predictions": "checkpoints/medklip/*/predictions/trained-*.npz",
    "results": "results/medklip-phantom-*.parquet",
    "results of the dataset": f"results/medklip-{DATASET}-*.parquet",
    "resamples": "results/resamples/medklip-phantom-*.parquet",
    "published": "results/published*.parquet",
    "page of tables": "results/tables/index.html",
    "MLflow": "mlflow.db",
}

# A finished training does not read where it could be resumed; one that is resumed passes a damaged state over.
UNUSED = ("checkpoint state", "checkpoint card")
ARCHIVE, TWO_RUNS = "archive", "two runs at once"
SHARED = ("images batch", "shard", "studies", "results", "predictions")  # what two runs make again
# Weights that differ stop a run: nobody can tell whether the file or its digest is right.
MAY_STOP = ("weights", "untrained weights", "result of a training", "origin", "model card")


@dataclass(frozen=True)
class Verdict:
    """What became of a fault."""

    state: str
    text: str = ""


class Bench:
    """A finished home, kept aside, and the place where it is damaged."""

    def __init__(
        self, folder: Path, log: Callable[[str], object], jobs: Sequence[str] = JOBS, counterparts: bool = True
    ) -> None:
        """Make the home, and with `counterparts` another one, whose files take the place of this one's."""
        self.jobs = jobs
        self.folder, self.home = folder, folder / "home"
        self.pristine, self.other = folder / "pristine", folder / "other"
        self._write_archives()
        for seed, place in ((1, self.other), (0, self.pristine))[not counterparts :]:
            log(f"Making the home {place.name}.")
            failed = self.run(seed)
            if failed:
                raise SystemExit(f"The home cannot be made: {failed}")
            self.home.rename(place)
        self.numbers = read_numbers(self.pristine)

    def try_fault(self, kind: str, damage: Callable[[Path, Path | None], object]) -> Verdict | None:
        """Damage one file and give the command again; None where there is no such file."""
        name = next(iter(find(self.pristine, kind)), None)
        if name is None:
            return None
        self.restore()
        counterpart = next(iter(find(self.other, kind)), None)
        damage(self.home / name, None if counterpart is None else self.other / counterpart)
        return self.judge(kind)

    def try_outage(self, outage: Callable[[Path], AbstractContextManager[None]]) -> Verdict:
        """Let the archive go away while its images are read, and give the command again when it is back."""
        self.restore()
        for stage in STAGES:
            shutil.rmtree(self.home / "phantom" / stage)
        ended = threading.Event()

        def disturb() -> None:
            while not ended.is_set() and not find(self.home, "images batch"):
                time.sleep(POLL_SECONDS)
            with outage(self.folder / "archive0"):
                ended.wait()

        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            failures = self.run(0)
        finally:
            ended.set()
            disturber.join()
        if wrong := [one for one in failures if not one.startswith(SENTENCE)]:
            return Verdict(WRONG, "; ".join(wrong))
        if not failures:
            return Verdict(WRONG, "the run did not end while the archive was away")
        if read_numbers(self.home) != self.numbers:
            return Verdict(WRONG, "numbers differ while the archive is away")
        return self.judge("")

    def try_overlap(self, kind: str) -> Verdict:
        """Delete one file, and give the command twice at once."""
        self.restore()
        (self.home / find(self.home, kind)[0]).unlink()
        first, second = self.start(0), self.start(0)
        failures = [*first(), *second()]
        return Verdict(WRONG, failures[0]) if failures else self.judge("")

    def restore(self) -> None:
        """Make the home what it was."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.pristine, self.home, symlinks=True)

    def judge(self, kind: str) -> Verdict:
        """Run the jobs in the damaged home, and compare it with the undamaged one."""
        failures = self.run(0)
        wrong = [one for one in failures if not one.startswith(SENTENCE)]
        found = read_numbers(self.home)
        if differing := [key for key in found if key in self.numbers and found[key] != self.numbers[key]]:
            return Verdict(WRONG, f"{len(differing)} numbers differ, such as {differing[0]}")
        if wrong:
            return Verdict(WRONG, "; ".join(wrong))
        if failures:
            return Verdict(STOPPED if kind in MAY_STOP else WRONG, failures[0])
        if found.keys() != self.numbers.keys():
            return Verdict(WRONG, f"{len(found.keys() ^ self.numbers.keys())} numbers are missing or new")
        same = kind != "MLflow"  # ids of its runs are in many files
        files = find_differences(self.pristine, self.home) if same else []
        if kind in UNUSED:
            files = [name for name in files if not fnmatch.fnmatch(name, KINDS[kind])]
        return Verdict(WRONG, f"files differ: {', '.join(files[:3])}") if files else Verdict(HEALED)

    def run(self, seed: int) -> list[str]:
        """Both jobs in a process of their own; returns what failed, a sentence of ours or the kind of an error."""
        return self.start(seed)()

    def start(self, seed: int) -> Callable[[], list[str]]:
        """Begin both jobs in a process of their own; what is returned waits for it and says what failed."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "w") as answers:
                try:
                    answers.write(json.dumps(self._run_jobs(seed)))
                except BaseException as error:
                    stack = "".join(traceback.format_tb(error.__traceback__))
                    answers.write(json.dumps([f"{type(error).__name__}: {stack}"]))
            os._exit(0)
        os.close(writing)

        def wait() -> list[str]:
            with os.fdopen(reading) as answers:
                text = answers.read()
            os.waitpid(child, 0)
            found: list[str] = json.loads(text) if text else ["the process died"]
            return found

        return wait

    def _run_jobs(self, seed: int) -> list[str]:
        os.environ[ROOT] = str(self.folder / "dataset")
        silence = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(silence, stream)
        with dg.DagsterInstance.ephemeral() as instance:
            for job in self.jobs:
                done = defs.resolve_job_def(job).execute_in_process(
                    run_config=self._config(job, seed),
                    instance=instance,
                    raise_on_error=False,
                    partition_key="phantom",
                )
                failures = [event for event in done.all_node_events if event.is_step_failure]
                if failures:
                    return [_describe(event) for event in failures]
        return []

    def _config(self, job: str, seed: int) -> dict[str, Any]:
        workspace = {"home": str(self.home), "cohort": "phantom", "archive_root": str(self.folder / f"archive{seed}")}
        small = {"fine_tune": BRIEF, "detection": {**BRIEF, "width": 8}, "segmentation": BRIEF}
        amount = {"fractions": [1.0], "cohorts": [DATASET], "simulated_studies": 0}
        config: dict[str, Any] = {"resources": {"workspace": {"config": workspace}}}
        ingestion = {"inventory": {"config": {"batch_size": 15}}, "images": {"config": {"size": SIZE}}}
        if job != "ingest":
            config["resources"]["evaluation"] = {"config": {**small, **amount}}
        if not job.startswith("evaluate"):
            config["ops"] = ingestion
        if job.startswith("pretrain"):
            network = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
            training = {"max_steps": 4, "batch_size": 8, "warmup_epochs": 0.0, "log_every": 1, "checkpoint_every": 2}
            config["ops"] |= {"pretrained__medklip": {"config": {**training, "threads": 1, "method_config": network}}}
        return config

    def _write_archives(self) -> None:
        for seed in (0, 1):
            root = self.folder / f"archive{seed}"
            simulate(root, PhantomConfig(studies=STUDIES, height=HEIGHT, seed=seed))
            image = sorted(root.glob("files/*/*/*/*.dcm"))[0]
            image.write_bytes(image.read_bytes()[:-500])  # something to reject
        layout_writer(DATASET)(self.folder / "dataset", simulate_studies(PhantomConfig(seed=7, height=HEIGHT), STUDIES))


def _describe(event: Any) -> str:
    """A failure: the sentence that the step ended with, or what went wrong in our code."""
    data = event.step_failure_data
    if data.user_failure_data is not None:
        return f"{SENTENCE}{data.user_failure_data.description}"
    error = data.error
    while error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.cls_name}: {error.message.strip()[:300]}"


def find(home: Path, kind: str) -> list[str]:
    """Names of the files of a kind, relative to the home."""
    paths = sorted(path for path in home.glob(KINDS[kind]) if path.is_file())
    return [str(path.relative_to(home)) for path in paths]


def truncate(path: Path, _: Path | None) -> None:
    """Half of the file is gone."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, _: Path | None) -> None:
    """Nothing of the file is left."""
    path.write_bytes(b"")


def delete(path: Path, _: Path | None) -> None:
    """The file is gone."""
    path.unlink()


def flip(path: Path, _: Path | None) -> None:
    """One bit in the middle of the file is another one."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_under_the_old_time(path: Path, other: Path | None) -> None:
    """One bit is another one, and the time of modification is what it was."""
    before = path.stat()
    flip(path, other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path, other: Path | None) -> None:
    """The file of another run lies in its place, under the old time."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1] if other is None else other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


DAMAGES = {
    "truncated": truncate,
    "emptied": empty,
    "deleted": delete,
    "one bit": flip,
    "one bit, old time": flip_under_the_old_time,
    "another run's": replace,
}


def list_faults(kinds: Sequence[str], damages: Sequence[str]) -> list[tuple[str, str]]:
    """Every kind of file with every damage, the outages of the archive, and runs at once for want of a file."""
    files = [(kind, damage) for kind in kinds for damage in damages]
    return files + [(ARCHIVE, name) for name in OUTAGES] + [(TWO_RUNS, kind) for kind in SHARED]


def try_fault(bench: Bench, kind: str, damage: str) -> Verdict:
    """What becomes of one fault."""
    if kind == ARCHIVE:
        return bench.try_outage(OUTAGES[damage])
    if kind == TWO_RUNS:
        return bench.try_overlap(damage)
    return bench.try_fault(kind, DAMAGES[damage]) or Verdict(WRONG, "there is no such file to damage")


def try_all(
    bench: Bench, faults: Sequence[tuple[str, str]], log: Callable[[str], object]
) -> Iterator[tuple[str, str, Verdict]]:
    """Kind, damage and verdict of every fault."""
    for kind, damage in faults:
        verdict = try_fault(bench, kind, damage)
        log(f"{verdict.state:8} {kind}, {damage}{': ' if verdict.text else ''}{verdict.text}")
        yield kind, damage, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Try faults; the exit status is 1 if one of them is WRONG."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=0, help="number of faults, chosen at random; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind of file")
    parser.add_argument("--damage", action="append", choices=list(DAMAGES), help="only this damage")
    parser.add_argument("--only", choices=(ARCHIVE, TWO_RUNS), help="only these faults")
    options = parser.parse_args(arguments)
    faults = list_faults(options.kind or list(KINDS), options.damage or list(DAMAGES))
    if options.only:
        faults = [fault for fault in faults if fault[0] == options.only]
    if options.faults:
        faults = random.Random(options.seed).sample(faults, min(options.faults, len(faults)))

    def log(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), log)
        log(f"{len(bench.numbers)} numbers, {len(list_files(bench.pristine))} files; {len(faults)} faults")
        states = [verdict.state for _, _, verdict in try_all(bench, faults, log)]
    log(", ".join(f"{states.count(state)} {state}" for state in (HEALED, STOPPED, WRONG)))
    return int(WRONG in states)


if __name__ == "__main__":
    sys.exit(main())
