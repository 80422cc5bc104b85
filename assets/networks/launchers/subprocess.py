"""A training as a child of the step: one process, or several under torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import dagster as dg

from assets.networks.launchers.settings import OneHost
from store.code import ROOT
from training.errors import PARENT
from training.parallel import agent


def expect_ready(_: OneHost, __: Path) -> None:
    """What it needs is what the step runs with."""


def run(
    settings: OneHost, context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, request: Path, _: Path
) -> None:
    """Train to the end; raises whatever ends it otherwise."""
    command = [sys.executable, "-m", "training"]
    if settings.processes > 1:
        command = [
            sys.executable, "-m", agent.__name__, "--standalone",
            f"--nproc-per-node={settings.processes}", f"--max-restarts={settings.max_restarts}",
        ]  # fmt: skip
    started_by = {PARENT: str(os.getpid())}
    pipes.run(context=context.op_execution_context, command=[*command, str(request)], cwd=str(ROOT), env=started_by)
