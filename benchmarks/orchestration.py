"""`python -m benchmarks.orchestration`: where the time of the main job goes, from an empty home.

Runs `dagster job execute -j pretrain_medklip` in a temporary home, times the whole command, and adds up its steps as
Dagster recorded them. Orchestration is what is left: start, imports, planning, collecting, checks, and the gaps.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from time import perf_counter

import dagster as dg

CHECKOUT = Path(__file__).resolve().parents[1]
JOB = "pretrain_medklip"
WORK = {  # steps that simulate, decode, parse, train or evaluate, by the start of their key
    "archive": "simulating",
    "inventory": "decoding",
    "images": "decoding",
    "reports": "parsing",
    "triplets": "parsing",
    "knowledge": "parsing",
    "shards": "decoding",
    "pretrained": "training",
    "evaluated": "evaluating",
}
PLUMBING = (".plan", ".collect")  # ends of step keys that only hand batches around


def kind_of(step: str) -> str:
    """What a step's time counts as."""
    if any(part in step for part in PLUMBING):
        return "orchestration"
    return next((kind for start, kind in WORK.items() if step.startswith(start)), "orchestration")


def timed_command(home: Path) -> float:
    """Seconds of the whole command, as typed after `. ./activate`."""
    environment = {
        **os.environ,
        "RADALIGN_HOME": str(home),
        "DAGSTER_CLI_JOB_EXECUTE_MODULE_NAME": "pipelines.definitions",
    }
    start = perf_counter()
    subprocess.run(["dagster", "job", "execute", "-j", JOB], cwd=CHECKOUT, env=environment, check=True)
    return perf_counter() - start


def step_seconds() -> dict[str, float]:
    """Seconds of the latest run of the job, by kind of step."""
    with dg.DagsterInstance.from_config(str(CHECKOUT)) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name=JOB), limit=1)
        if not runs:
            raise SystemExit(f"there is no run of {JOB} in the history of this checkout; leave --wall out")
        stats = instance.get_run_step_stats(runs[0].run_id)
    seconds: dict[str, float] = defaultdict(float)
    for step in stats:
        if step.start_time and step.end_time:
            seconds[kind_of(step.step_key)] += step.end_time - step.start_time
    return seconds


def main() -> int:
    """Measure, or read the latest run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration", description=__doc__)
    parser.add_argument("--wall", type=float, help="seconds of the latest run's command, instead of running it again")
    options = parser.parse_args()
    os.chdir(CHECKOUT)
    with tempfile.TemporaryDirectory() as folder:
        wall = options.wall or timed_command(Path(folder))
    seconds = step_seconds()
    worked = sum(value for kind, value in seconds.items() if kind != "orchestration")
    for kind, value in sorted(seconds.items(), key=lambda pair: -pair[1]):
        if kind != "orchestration":
            sys.stdout.write(f"{kind:14} {value:7.1f} s  {value / wall:6.1%}\n")
    sys.stdout.write(f"{'orchestration':14} {wall - worked:7.1f} s  {(wall - worked) / wall:6.1%}\n")
    sys.stdout.write(f"{'whole command':14} {wall:7.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
