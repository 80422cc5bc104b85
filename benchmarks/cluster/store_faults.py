"""Two machines ingest into one home on object storage while something goes wrong: nothing lost, nothing doubled.

    python -m benchmarks.cluster.store_faults --times 10

Two processes with mirrors of their own ingest the same archive at the same time, through a proxy that answers 503,
closes connections half way and loses answers. At a random moment a fault of each kind in FAULTS happens. Then both are
given the same command again. The tables and shards of both are compared with those of a local home, byte by byte, and
the entries of batches in the store with those of its plans. Prints a line per round and a summary; exits with 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.cluster import object_store
from store.processes import end_with_parent

FAULTS = {
    "killed": "one of the two is killed",
    "paused": "one of the two stands still for longer than its lease lasts, and goes on",
    "cut": "the store answers nobody for some seconds",
    "busy": "a third of all requests fail",
}
USUAL = {"slow_down": 0.05, "half_close": 0.03, "lost_reply": 0.02}
BUSY = {"slow_down": 0.2, "half_close": 0.1, "lost_reply": 0.05}
LEASE_SECONDS, AWAY_SECONDS = 3.0, 6.0
STUDIES, BATCH, SIZE = 24, 6, 32
STAGES = ("inventory", "images", "reports", "triplets", "report_labels", "shards")
TABLES = (*STAGES, "studies", "rejects", "subsets", "knowledge")
MISTAKE = 2  # exit status of a run that ends with one sentence


def main() -> int:
    """Run all rounds; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=10, help="rounds of each kind of fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(FAULTS), help="one kind of fault alone")
    parser.add_argument("--ingest", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ingest:
        return ingest()
    drawn, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="radalign-faults-") as folder, object_store.running() as store:
        place = Path(folder)
        archive = simulate(place / "archive")
        local = {"RADALIGN_HOME": str(place / "local"), "RADALIGN_PHANTOM_ROOT": str(archive)}
        began = time.monotonic()
        finish(start(local))
        seconds, expected = time.monotonic() - began, tables(place / "local")
        say(f"a local home: {len(expected)} files in {seconds:.0f} s")
        with store.faulty() as proxy:
            for fault in [options.only] if options.only else FAULTS:
                for number in range(options.times):
                    here = place / f"{fault}{number}"
                    home = store.url(here.name)
                    common = {**proxy.environment(), "RADALIGN_HOME": home, "RADALIGN_PHANTOM_ROOT": str(archive)}
                    common["RADALIGN_LEASE_SECONDS"] = str(LEASE_SECONDS)
                    both = [{**common, "RADALIGN_MIRROR": str(here / name)} for name in "ab"]
                    said = run_round(fault, both, proxy, drawn.uniform(0.2, 1.2) * seconds, drawn)
                    problems = compare(expected, [here / name for name in "ab"], count_entries(store, here.name))
                    wrong += bool(problems)
                    say(f"{fault} {number + 1}: {said}; {'; '.join(problems) or 'as the local home'}")
    say(f"{wrong} rounds differ")
    return int(wrong > 0)


def run_round(
    fault: str,
    both: list[dict[str, str]],
    proxy: object_store.Proxy,
    moment: float,
    drawn: random.Random,
) -> str:
    """Two ingestions at once, the fault after `moment` seconds, and both once more; returns what happened."""
    proxy.set(**(BUSY if fault == "busy" else USUAL))
    processes = [start(environment) for environment in both]
    victim = drawn.choice(processes)
    try:
        victim.wait(moment)
    except subprocess.TimeoutExpired:
        happen(fault, victim, proxy)
    ends = [process.wait() for process in processes]
    proxy.set(**USUAL)
    for environment in both:
        finish(start(environment))
    proxy.set()
    return f"after {moment:.0f} s, exit statuses {ends[0]} and {ends[1]}"


def happen(fault: str, victim: subprocess.Popen[bytes], proxy: object_store.Proxy) -> None:
    """Let something go wrong."""
    if fault == "killed":
        victim.kill()
    elif fault == "paused":
        victim.send_signal(signal.SIGSTOP)
        time.sleep(AWAY_SECONDS)
        victim.send_signal(signal.SIGCONT)
    elif fault == "cut":
        proxy.set(**USUAL, cut=True)
        time.sleep(AWAY_SECONDS)
        proxy.set(**USUAL)


def compare(expected: Mapping[str, str], mirrors: list[Path], entries: Mapping[str, int]) -> list[str]:
    """What is not as in a local home, one phrase each."""
    problems = []
    for mirror in mirrors:
        found = tables(mirror)
        problems += [f"{mirror.name}: {name} differs" for name in found if expected.get(name) != found[name]]
        wanted = [name for name in expected if not is_batch(name)]
        problems += [f"{mirror.name}: {name} is missing" for name in wanted if name not in found]
    for stage in STAGES:
        made = sum(is_batch(name) and name.startswith(f"{stage}/") and ".rejects." not in name for name in expected)
        if entries.get(stage) != made:
            problems.append(f"{stage} has {entries.get(stage, 0)} entries for {made} batches")
    return problems


def tables(home: Path) -> dict[str, str]:
    """Digest of every table and batch of the dataset in a home or a mirror, by its path."""
    base = home / "phantom"
    paths = [path for name in TABLES for path in sorted((base / name).glob("*.parquet"))]
    return {path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def is_batch(name: str) -> bool:
    """Whether a path is that of a batch: a mirror has those that it was asked for."""
    return len(Path(name).name.partition(".")[0]) == 20


def count_entries(store: object_store.Store, prefix: str) -> dict[str, int]:
    """How many batches of each stage the store has."""
    from store.remote.protocol.address import Address
    from store.remote.protocol.objects import Objects

    os.environ |= store.environment()
    objects = Objects(Address.parse(store.url(prefix)))
    return {stage: len(list(objects.list(f"batches/phantom/{stage}/"))) for stage in STAGES}


def simulate(root: Path) -> Path:
    """The archive that all ingest."""
    from cohorts.phantom.archive import simulate as write
    from cohorts.phantom.config import PhantomConfig

    write(root, PhantomConfig(studies=STUDIES, seed=3))
    return root


def start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Begin one ingestion."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RADALIGN_", "AWS_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cluster.store_faults", "--ingest"],
        cwd=object_store.CHECKOUT,
        env={**own, "OMP_NUM_THREADS": "1", **environment},
        preexec_fn=end_with_parent,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for an ingestion that has to succeed."""
    if process.wait():
        raise RuntimeError(f"an ingestion ended with {process.returncode}, and nothing had gone wrong")


def ingest() -> int:
    """What each process does."""
    from ingestion.inventory import InventorySettings
    from ingestion.pipeline import IngestionSettings, update
    from ingestion.stages.images import ImagesSettings
    from ingestion.workspace import Workspace
    from store.errors import UserError
    from store.remote import mirror

    settings = IngestionSettings(inventory=InventorySettings(batch_size=BATCH), images=ImagesSettings(size=SIZE))
    workspace = Workspace(cohort="phantom")
    try:
        mirror.refresh(workspace.home_path())
        update(workspace, settings, progress=False)
    except UserError as error:
        say(f"  {error}")
        return MISTAKE
    return 0


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
