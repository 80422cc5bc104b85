"""Starts a job of the pipelines from the command `radalign`: this process becomes the one that runs it."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from radalign.errors import RadalignError

RUNNER = "pipelines.run"


def start_job(job: str, options: Namespace) -> int:
    """Become `python -m pipelines.run JOB`, which ends with the exit status of the command."""
    from store.code import ROOT

    arguments = [argument for name in options.config for argument in ("-c", str(Path(name).absolute()))]
    arguments += [argument for pair in options.settings for argument in ("--set", pair)]
    for name in ("home", "cohort", "root"):
        if value := getattr(options, name):
            place = value if name == "cohort" or "://" in value else str(Path(value).absolute())
            arguments += [f"--{name}", place]
    arguments += ["--preset", options.preset] if options.preset else []
    sys.stdout.flush()
    sys.stderr.flush()
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", RUNNER, job, *arguments]
    chosen = {"RADALIGN_COHORT": options.cohort} if options.cohort else {}  # Dagster's partitions follow from it
    os.execve(sys.executable, command, {**os.environ, **chosen, "PYTHONPATH": path})


def refuse(options: Namespace, defaults: Mapping[str, object], where: str) -> None:
    """Raise RadalignError for an option that the job does not take; `where` says which form of the command does."""
    for name, default in defaults.items():
        if getattr(options, name) != default:
            option = {"settings": "set", "tasks": "task", "fractions": "fraction"}.get(name, name)
            raise RadalignError(f"The option --{option} belongs to {where}.")
