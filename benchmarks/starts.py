"""`python -m benchmarks.starts`: every trained system beside its own start, over seeds, from the stored results.

`--run medclip vsepp --seeds 0 1 2` runs the job `pretrain_<method>` for each method and seed first, with
`dagster job execute` and the demo preset, in the home RADALIGN_HOME. It prints how long each command took, as seconds
and as CPU seconds of its processes. What is up to date is not computed again, so the command can be repeated.

The table holds the mean over seeds and its 95 % interval. The interval resamples the patients of the test split: a
resample counts the same patients for every seed, so that the values of all seeds can be averaged within it. It does not
cover the choice of seeds, whose standard deviation stands beside it. `apart` says whether the interval of a system lies
above that of its start. `gain` is trained minus start, with the interval of the differences within the same resamples:
both networks see the same patients, so that it is narrower. Seeds and repeats count that both networks have, on the
same data. A pool of datasets has a row for each.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import yaml

from evaluation.metrics.values import MACRO, interval
from evaluation.results.latest import latest_results
from evaluation.results.markdown import markdown_table
from evaluation.results.resamples import KEY, read_resamples
from evaluation.results.summary import UNTRAINED
from ingestion.workspace import Workspace
from models.registry import method_names

CHECKOUT = Path(__file__).resolve().parents[1]
TASKS = "zero_shot_classification,text_image_retrieval,image_image_retrieval,linear_probe"
MEASURES = {  # of the table: task, setting, metric
    "zero-shot AUROC": ("zero_shot_classification", "zero-shot", "auroc"),
    "text-image precision at 5": ("text_image_retrieval", "zero-shot", "precision_at_5"),
    "image-image precision at 5": ("image_image_retrieval", "zero-shot", "precision_at_5"),
    "10 % probe AUROC": ("linear_probe", "10 %", "auroc"),
}
Place = tuple[object, object, object]  # seed, repeat, data version


@dataclass(frozen=True)
class Measured:
    """The value of each seed, and the mean of their resamples (resamples,)."""

    values: np.ndarray
    resampled: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean."""
        return interval(self.resampled)

    def __str__(self) -> str:
        spread = f" ± {self.values.std(ddof=1):.3f}" if len(self.values) > 1 else ""
        return _say(f"{self.values.mean():.3f}{spread}", self.interval)

    def say_gain(self, start: Measured) -> str:
        """The difference of the means to those of the start, and its interval, in words."""
        gain = self.values.mean() - start.values.mean()
        return _say(f"{gain:+.3f}", interval(self.resampled - start.resampled), "+")


def main(arguments: list[str] | None = None) -> None:
    """Run the jobs that are asked for, then print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", default=[], metavar="METHOD", choices=method_names())
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args(arguments)
    for seed in options.seeds:
        for method in options.run:
            print(run_job(method, seed), flush=True)
    print(
        markdown_table(
            ("system", "measure", "seeds", "trained", "start", "gain", "apart"), list(list_rows(Workspace()))
        )
    )


def run_job(method: str, seed: int) -> str:
    """Run `dagster job execute -j pretrain_<method>` with a seed; returns a sentence on its time, or that it failed."""
    config = {"ops": {f"pretrained__{method}": {"config": {"seed": seed}}}}
    environment = {**os.environ, "DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "pipelines.definitions"}
    with tempfile.TemporaryDirectory() as folder:
        given, log = Path(folder) / "run.yaml", Path(folder) / "log"
        given.write_text(yaml.safe_dump(config))
        command = ["dagster", "job", "execute", "-j", f"pretrain_{method}", "-c", str(given)]
        command += ["--tags", f'{{"radalign/tasks": "{TASKS}"}}']
        began, before = perf_counter(), _children_seconds()
        with log.open("wb") as stream:
            ended = subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=stream, stderr=stream, check=False)
        seconds, used = perf_counter() - began, _children_seconds() - before
        if ended.returncode:
            sys.stderr.write(log.read_text(errors="replace")[-2000:])
    outcome = "took" if not ended.returncode else "failed after"
    return f"pretrain_{method}, seed {seed}: {outcome} {seconds:.0f} s, {used:.0f} CPU s."


def list_rows(workspace: Workspace) -> Iterator[Sequence[str]]:
    """The rows of the table: each measure that a system has, with its start."""
    latest = latest_results(workspace).to_pylist()
    metrics = sorted({metric for _, _, metric in MEASURES.values()})
    found = [
        (dict(zip(KEY, key, strict=True)), resampled)
        for key, resampled in read_resamples(workspace.home_path() / "results", metrics, MACRO).items()
    ]
    points = {tuple(row[name] for name in KEY): row["value"] for row in latest if row["class"] == MACRO}
    cohorts = sorted({row["cohort"] for row in latest})
    for method, (name, measure), cohort in product(method_names(), MEASURES.items(), cohorts):
        networks: dict[object, dict[Place, tuple[float, np.ndarray]]] = {method: {}, f"{UNTRAINED}{method}": {}}
        for key, resampled in found:
            point = points.get(tuple(key.values()))
            here = (key["task"], key["setting"], key["metric"]) == measure and key["cohort"] == cohort
            if here and key["method"] in networks and point is not None:
                place = key["seed"], key["repeat"], key["data_version"]
                networks[key["method"]][place] = (point, resampled)
        trained, start = (average(seeds) for seeds in join_seeds(*networks.values()))
        if trained and start:
            apart = "yes" if trained.interval[0] > start.interval[1] else "no"
            what = f"{name}, {cohort}" if len(cohorts) > 1 else name
            yield (method, what, str(len(trained.values)), str(trained), str(start), trained.say_gain(start), apart)


def join_seeds(*networks: Mapping[Place, tuple[float, np.ndarray]]) -> list[list[tuple[float, np.ndarray]]]:
    """The seeds of each network, of seeds and repeats that all of them have on the same data."""
    shared = [place for place in networks[0] if all(place in network for network in networks)]
    seeds = dict.fromkeys(seed for seed, _, _ in shared)
    return [
        [join_repeats([network[place] for place in shared if place[0] == seed]) for seed in seeds]
        for network in networks
    ]


def join_repeats(repeats: Sequence[tuple[float, np.ndarray]]) -> tuple[float, np.ndarray]:
    """The mean of the repeats of a seed, and of their resamples."""
    return float(np.mean([value for value, _ in repeats])), np.mean([resampled for _, resampled in repeats], axis=0)


def average(seeds: Sequence[tuple[float, np.ndarray]]) -> Measured | None:
    """The values of several seeds and the mean of their resamples; None of no seed."""
    if not seeds:
        return None
    return Measured(np.array([value for value, _ in seeds]), np.mean([resampled for _, resampled in seeds], axis=0))


def _say(value: str, bounds: tuple[float, float], sign: str = "") -> str:
    low, high = (f"{bound:{sign}.3f}" for bound in bounds)
    return f"{value} [{low}, {high}]"


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
