"""What a run is about, as tags of Dagster: its home, dataset, preset and methods. The history is filtered by them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from ingestion.workspace import Workspace
from store.presets import PRESETS

PREFIX = "radalign/"
METHOD_STEPS = ("pretrained__", "evaluated__", "downstream__")


def workspace_of(run_config: Mapping[str, Any]) -> Workspace:
    """The workspace that a run config describes; a value may be the name of an environment variable."""
    given = ((run_config.get("resources") or {}).get("workspace") or {}).get("config") or {}
    return Workspace(**{name: _resolve(value) for name, value in given.items() if value is not None})


def _resolve(value: Any) -> Any:
    return os.environ.get(value["env"], "") if isinstance(value, dict) else value


def describe_run(workspace: Workspace, nodes: Collection[str]) -> dict[str, str]:
    """The tags of a run of the assets and graphs called `nodes`."""
    methods = sorted({node.partition("__")[2] for node in nodes if node.startswith(METHOD_STEPS)})
    about = {"home": str(workspace.home_path()), "cohort": workspace.cohort_name(), "preset": workspace.preset_name()}
    return {f"{PREFIX}{name}": value for name, value in {**about, "method": ",".join(methods)}.items() if value}


def introduce(workspace: Workspace) -> str:
    """The first line of a run."""
    preset = workspace.preset_name()
    return f"{workspace.cohort_name()} in {workspace.home_path()}, preset {preset}: {PRESETS[preset]}"
