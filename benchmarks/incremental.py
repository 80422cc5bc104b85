"""`python -m benchmarks.incremental`: what 1 % new studies cost beside ingesting the whole archive.

The archive has the layout of MIMIC-CXR with images of a hospital's size (2544 x 3056, uncompressed). A few images are
simulated, enlarged and hard-linked into every study, and some hundred reports are repeated, so that large archives cost
little disk: decoding and parsing do not become cheaper by that (parsing a little, which raises the ratio). The job
`ingest` runs in this process, with a history of its own: empty home, nothing new, then with 1 % more studies.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import dagster as dg

from cohorts.phantom.archive import Study, plan_studies, write_csv
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.simulated import SimulatedStudy, simulate_studies
from pipelines.definitions import defs

HEIGHT, WIDTH = 3056, 2544
REPORTS = 200  # different ones
SLOWEST = 12  # steps that are shown


def write_sources(folder: Path, images: int) -> list[SimulatedStudy]:
    """Write `images` images and REPORTS reports into `folder`, from where an archive links them."""
    folder.mkdir()
    simulated = simulate_studies(PhantomConfig(), REPORTS)
    for number, study in enumerate(simulated):
        (folder / f"{number}.txt").write_text(study.report)
    planned = plan_studies(PhantomConfig(studies=images))
    for number, (study, ids) in enumerate(zip(simulated[:images], planned, strict=True)):
        write_dicom(folder / f"{number}.dcm", study.resized(HEIGHT, WIDTH).pixels, ids, inverted=number % 2 == 0)
    return simulated


def grow(root: Path, sources: Path, studies: Sequence[Study], known: int, images: int) -> None:
    """Link the files of all studies after the first `known`, then write the tables."""
    for study in studies[known:]:
        folder = root / study.folder
        folder.mkdir(parents=True)
        os.link(sources / f"{study.index % images}.dcm", root / study.image_path)
        os.link(sources / f"{study.index % REPORTS}.txt", folder.with_suffix(".txt"))
    ids = [{"dicom_id": s.image_id, "subject_id": s.subject_id, "study_id": s.study_id} for s in studies]
    views = [{**row, "ViewPosition": study.view} for row, study in zip(ids, studies, strict=True)]
    splits = [{**row, "split": study.split} for row, study in zip(ids, studies, strict=True)]
    write_csv(root / "mimic-cxr-2.0.0-metadata.csv.gz", views)
    write_csv(root / "mimic-cxr-2.0.0-split.csv.gz", splits)


def ingest(instance: dg.DagsterInstance, config: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
    """Run the job; seconds of the whole, and of its steps."""
    start = perf_counter()
    result = defs.resolve_job_def("ingest").execute_in_process(
        run_config=config, instance=instance, partition_key="mimic_cxr"
    )
    seconds = perf_counter() - start
    steps = {
        stat.step_key: stat.end_time - stat.start_time
        for stat in instance.get_run_step_stats(result.run_id)
        if stat.start_time and stat.end_time
    }
    return seconds, steps


def main() -> int:
    """Measure; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.incremental", description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=8, help="different images, of 15.5 MB each")
    parser.add_argument("--size", type=int, default=224, help="side of the letterboxed images, pixels")
    parser.add_argument("--share", type=float, default=0.01, help="of the studies that come later")
    parser.add_argument("--folder", type=Path, help="where to work; on the disk that is to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options)
    return 0


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Three runs of the job, with their slowest steps."""
    later = round(options.studies * options.share)
    studies = plan_studies(replace(PhantomConfig(), studies=options.studies + later))
    sources, root = folder / "sources", folder / "archive"
    write_sources(sources, options.images)
    config = {
        "ops": {"images": {"config": {"size": options.size}}},
        "resources": {
            "workspace": {
                "config": {"home": str(folder / "home"), "cohort": "mimic_cxr", "archive_root": str(root)},
            }
        },
        "loggers": {"console": {"config": {"log_level": "ERROR"}}},
    }
    seconds = {}
    history = folder / "dagster"
    history.mkdir()
    with dg.DagsterInstance.local_temp(str(history), {"telemetry": {"enabled": False}}) as instance:
        cuts = {"whole archive": (0, options.studies), "nothing new": None, "new studies": (options.studies, None)}
        for name, cut in cuts.items():
            if cut is not None:
                grow(root, sources, studies[: cut[1]], cut[0], options.images)
            seconds[name], steps = ingest(instance, config)
            sys.stdout.write(f"{name:14} {seconds[name]:8.2f} s  {seconds[name] / seconds['whole archive']:7.2%}\n")
            slowest = sorted(steps.items(), key=lambda step: -step[1])
            for step, value in itertools.islice(slowest, SLOWEST if name != "whole archive" else 0):
                sys.stdout.write(f"    {value:8.2f} s  {step}\n")
    sys.stdout.write(f"{options.studies} studies, then {later} more\n")


if __name__ == "__main__":
    sys.exit(main())
