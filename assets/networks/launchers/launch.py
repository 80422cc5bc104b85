"""Running the launcher that a run config chooses."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import dagster as dg

from assets.networks.launchers.common import LauncherError, bringing
from assets.networks.launchers.settings import Launcher
from training.config import TrainingConfig
from training.parallel.heartbeat import silence_seconds


def launcher_of(settings: Launcher) -> ModuleType:
    """The module of a launcher, with `expect_ready` and `run`."""
    return import_module(f"assets.networks.launchers.{settings.kind}")


def expect_launcher(settings: Launcher, training: TrainingConfig, home: Path) -> None:
    """Raise a `UserError` where a training into a folder in `home` cannot be launched so: before anything starts."""
    training.expect_division(settings.hosts * settings.processes)
    silence_seconds()
    for name in getattr(settings, "environment", ()):
        if not name.isidentifier() or not name.isascii():
            raise LauncherError(
                f"`environment` of the launcher {settings.kind} has `{name}`, which is no name of a variable: letters, "
                "digits and _, and no digit first."
            )
    gpus = getattr(settings, "gpus_per_node", 0)
    if 0 < gpus < settings.processes:  # NCCL takes no GPU twice
        raise LauncherError(
            f"The launcher {settings.kind} starts {settings.processes} processes on each machine and asks for {gpus:g} "
            "of its GPUs: set `processes` and `gpus_per_node` to the same number."
        )
    launcher_of(settings).expect_ready(settings, home)


def launch(
    settings: Launcher, context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, request: Path, output: Path
) -> None:
    """Train to the end where `settings` say; raises what ends it otherwise."""
    with bringing(output):
        launcher_of(settings).run(settings, context, pipes, request, output)
