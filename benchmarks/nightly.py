"""`python -m benchmarks.nightly FOLDER --nights 5`: an archive that grows, and a network that is followed by itself.

A small simulated archive in the layout of MIMIC-CXR is ingested, and a small network is trained on it, once. Then
Dagster's daemon runs with the sensors `new_studies` and `after_ingest`, and twenty studies are added for each night. In
one night the pictures are darker, and the check `no_drift` should warn of that night alone. Nothing else is done by
hand. FOLDER keeps the home, with the page `results/monitoring/`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import SimulatedStudy, simulate_studies
from pipelines.definitions import defs
from store.code import ROOT

COHORT, METHOD, LAYOUT = "mimic_cxr", "medklip", "mimic_cxr"
HEIGHT, SIZE = 96, 64  # rows of an image, pixels of a square
DARKER = 0.45  # of the grey levels above the darkest, in the night with drift
CHECK_SECONDS, PATIENCE = 5, 600
SENSORS = ("new_studies", "after_ingest")
NETWORK = {"image_encoder": "resnet18", "output_stride": 32, "width": 16, "layers": 1}
TRAINING = {"batch_size": 16, "warmup_epochs": 0.0, "log_every": 50, "threads": 1, "method_config": NETWORK}


def write_archive(root: Path, studies: list[SimulatedStudy]) -> None:
    """Add the studies that an archive does not have; those that it has are not touched, its tables are replaced."""
    staging = root.with_name("staging")
    layout_writer(LAYOUT)(staging, studies)
    files = sorted(path.relative_to(staging) for path in staging.rglob("*") if path.is_file())
    tables = [name for name in files if "files" not in name.parts]
    for name in [name for name in files if name not in tables and not (root / name).exists()] + tables:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / name, root / name)
    shutil.rmtree(staging)


def darken(study: SimulatedStudy) -> SimulatedStudy:
    """The study as a device takes it whose pictures are darker; a burst of bright pixels keeps the window."""
    pixels = study.pixels.astype(float) * DARKER
    pixels[:4] = study.pixels.max()
    return replace(study, pixels=pixels.astype(np.uint16), lateral=None)


def simulate(count: int, drifted: range) -> list[SimulatedStudy]:
    """The first `count` studies of the simulation, darker those whose place is in `drifted`."""
    studies = simulate_studies(PhantomConfig(studies=count, height=HEIGHT), count)
    return [darken(study) if study.index in drifted else study for study in studies]


def train(instance: dg.DagsterInstance, steps: int) -> None:
    """Ingest the archive and train on it once."""
    config = {
        "ops": {
            "inventory": {"config": {"batch_size": 100}},
            "images": {"config": {"size": SIZE}},
            f"pretrained__{METHOD}": {"config": {**TRAINING, "max_steps": steps}},
        },
        "loggers": {"console": {"config": {"log_level": "ERROR"}}},
    }
    job = defs.resolve_job_def(f"pretrain_{METHOD}")
    keys = dg.AssetSelection.assets(dg.AssetKey(["pretrained", METHOD])).upstream()
    selected = keys.resolve(defs.resolve_asset_graph()) | {dg.AssetKey("rejects")}
    chosen = list(selected & set(job.asset_layer.executable_asset_keys))
    job.execute_in_process(run_config=config, instance=instance, partition_key=COHORT, asset_selection=chosen)


@contextmanager
def automation(log: Path) -> Iterator[None]:
    """Dagster's daemon, with the sensors started, until the end of the block."""
    workspace = ["--workspace", str(ROOT / "workspace.yaml")]
    for sensor in SENSORS:
        subprocess.run(
            ["dagster", "sensor", "start", *workspace, sensor], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
        )
    with log.open("w") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", *workspace, "--log-level", "warning"],
            cwd=ROOT, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            os.killpg(daemon.pid, signal.SIGINT)
            daemon.wait(60)


def finished(instance: dg.DagsterInstance) -> list[Any]:
    """The runs of the job that scores, of those that have ended, the first one first."""
    runs = instance.get_runs(dg.RunsFilter(job_name=f"monitor_{METHOD}"))
    return [run for run in reversed(runs) if run.is_finished]


def wait_for_night(instance: dg.DagsterInstance, nights: int) -> dict[str, Any]:
    """Metadata of the first materialization with so many nights."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        event = instance.get_latest_materialization_event(dg.AssetKey(["monitored", METHOD]))
        found = event.asset_materialization.metadata if event and event.asset_materialization else {}
        plain: dict[str, Any] = {name: value.value for name, value in found.items()}
        if plain and plain["nights"] >= nights:
            return plain
        if failed := [run for run in finished(instance) if not run.is_success]:
            raise SystemExit(f"The run {failed[0].run_id} failed; see the history in the home.")
        time.sleep(1)
    raise SystemExit(f"Night {nights} was not scored within {PATIENCE} seconds.")


def measure(folder: Path, options: argparse.Namespace) -> int:
    """All nights; returns the exit status: 0 where the night with drift is warned of, and no other."""
    from evaluation.monitoring.drift import warnings_by_night
    from evaluation.monitoring.nights import series_folder
    from evaluation.monitoring.watch import DRIFT
    from ingestion.workspace import Workspace
    from store import batches
    from tracking.runs import trained_run

    archive = folder / "archive"
    first = options.studies + (options.drift - 1) * options.added
    drifted = range(first, first + options.added)
    write_archive(archive, simulate(options.studies, drifted))
    instance = dg.DagsterInstance.get()
    begun = time.monotonic()
    train(instance, options.steps)
    run = trained_run(Workspace(), METHOD)
    print(f"{options.studies} studies, trained in {time.monotonic() - begun:.0f} s: {run.checkpoint_digest[:12]}")
    series = series_folder(Workspace(), run)
    with automation(folder / "daemon.log"):
        for night in range(1, options.nights + 1):
            count = options.studies + night * options.added
            write_archive(archive, simulate(count, drifted))
            begun = time.monotonic()
            found = wait_for_night(instance, night)
            warned = warnings_by_night(batches.read_batches(series / DRIFT)).get(f"night-{night:04d}", [])
            print(
                f"night {night}: {found['images of the night']} images, {time.monotonic() - begun:.0f} s after they "
                f"came; input {found['farthest input / limit']:.2f}, score {found['farthest score / limit']:.2f} of "
                f"the limit; warned of: {', '.join(warned) or 'nothing'}",
                flush=True,
            )
    all_warned = warnings_by_night(batches.read_batches(series / DRIFT))
    wanted = {f"night-{options.drift:04d}"} if options.drift <= options.nights else set()
    same = trained_run(Workspace(), METHOD) == run
    print(f"{len(finished(instance))} runs scored; network unchanged: {same}; page: {found['page']}")
    return 0 if set(all_warned) == wanted and same else 1


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nightly", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder, or one to be made")
    parser.add_argument("--nights", type=int, default=5)
    parser.add_argument("--studies", type=int, default=300, help="there at the training")
    parser.add_argument("--added", type=int, default=20, help="studies per night")
    parser.add_argument("--drift", type=int, default=4, help="the night whose pictures are darker")
    parser.add_argument("--steps", type=int, default=150, help="of the training")
    options = parser.parse_args()
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty; choose another folder.")
    os.environ |= {
        "DAGSTER_HOME": str(ROOT),
        "RADALIGN_HOME": str(folder / "home"),
        "RADALIGN_COHORT": COHORT,
        f"RADALIGN_{COHORT.upper()}_ROOT": str(folder / "archive"),
        "RADALIGN_PRESET": "demo",
        "RADALIGN_CHECK_SECONDS": str(CHECK_SECONDS),
    }
    return measure(folder, options)


if __name__ == "__main__":
    sys.exit(main())
