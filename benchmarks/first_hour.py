"""`python -m benchmarks.first_hour FOLDER`: the first hour of a stranger, typed from README.md in a fresh clone.

Each step is a command as README.md gives it and what its reader expects to see. The environment holds HOME, PATH and
nothing else, and the home is new. The stranger's own archive is a simulated one in the layout of Open-i. Prints the
seconds of every step. The exit status is 1 if a step did not do what was expected.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kills import CHECKOUT

ARCHIVE = """
from pathlib import Path
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
layout_writer("open_i")(Path("../open-i"), simulate_studies(PhantomConfig(studies=120, height=256), 120))
"""
OWN = "RADALIGN_COHORT=open_i RADALIGN_OPEN_I_ROOT=../open-i"
BRIEF = "--preset demo --set epochs=1"
IMAGE = "$(find var/phantom/archive/files -name '*.dcm' | head -1)"
USE = """
import subprocess, radalign
image = subprocess.check_output("find var/phantom/archive/files -name '*.dcm' | head -1", shell=True, text=True).strip()
model = radalign.load("medklip")
found = model.zero_shot(image, ["pleural effusion", "pneumothorax"])
print(found.to_frame(), found.maps.shape)
"""


def python(code: str) -> str:
    """A command that runs lines of Python in the environment."""
    return f". ./activate && python - <<'END'\n{code}END"


@dataclass(frozen=True)
class Step:
    """What is typed, and patterns that its output has to hold."""

    name: str
    command: str
    expected: tuple[str, ...]
    status: int = 0


STEPS = (
    Step(
        "demo",
        "make demo",
        (
            r"The environment is ready",
            r"medklip, pretrained on phantom \(simulated\)",
            r"AUROC .*\d\.\d{3}.* untrained",
        ),
    ),
    Step("doctor", ". ./activate && radalign doctor", (r"[Mm]emory", r"GPU")),
    Step("archive", python(ARCHIVE), ()),
    Step(
        "own data, no GPU",
        f". ./activate && {OWN} radalign pretrain medklip",
        (r"The preset paper is for a GPU, and this machine shows none: set RADALIGN_PRESET=demo",),
        status=2,
    ),
    Step(
        "own data",
        f". ./activate && {OWN} radalign pretrain medklip {BRIEF}",
        (r"open_i in .*preset demo", r"medklip, pretrained on open_i", r"phantom"),
    ),
    Step(
        "compare", f". ./activate && radalign pretrain convirt {BRIEF}", (r"convirt, pretrained on phantom", r"open_i")
    ),
    Step(
        "results", ". ./activate && radalign results", (r"Pretrained on phantom", r"Pretrained on open_i", r"convirt")
    ),
    Step("page", "ls var/results/tables/index.html && grep -c open_i var/results/tables/index.html", (r"index\.html",)),
    Step("use in Python", python(USE), (r"pleural effusion +pneumothorax", r"\(1, 2, ")),
    Step(
        "use as a command",
        f'. ./activate && radalign predict medklip {IMAGE} --label "pleural effusion" --label pneumothorax',
        (r"image\tpleural effusion\tpneumothorax", r"\.dcm\t[01]\.\d{4}\t[01]\.\d{4}"),
    ),
    Step("again", ". ./activate && radalign pretrain medklip", (r"0 of \d+ batches computed",)),
)


def run(step: Step, folder: Path) -> list[str]:
    """Type the command; returns what was not as expected."""
    done = subprocess.run(
        ["bash", "-c", step.command],
        cwd=folder,
        env={"HOME": str(folder.parent), "PATH": os.environ.get("FIRST_HOUR_PATH", "/usr/local/bin:/usr/bin:/bin")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    (folder.parent / f"{step.name.replace(' ', '_').replace(',', '')}.log").write_text(done.stdout)
    wrong = [f"{pattern!r} is not in its output" for pattern in step.expected if not re.search(pattern, done.stdout)]
    if done.returncode != step.status:
        wrong.append(f"it ended with {done.returncode}, not {step.status}: {done.stdout[-500:]}")
    if "Traceback" in done.stdout:
        wrong.append("it printed a traceback")
    return wrong


def main() -> int:
    """Type all of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_hour", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty folder for the clone, the archive and the logs")
    options = parser.parse_args()
    clone = options.folder.absolute() / "radalign"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
    failed = 0
    for step in STEPS:
        start = time.monotonic()
        wrong = run(step, clone)
        failed += bool(wrong)
        print(f"{step.name:18} {time.monotonic() - start:7.1f} s  {'; '.join(wrong) or 'as expected'}", flush=True)
    print(f"{len(STEPS) - failed} of {len(STEPS)} steps as expected")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
