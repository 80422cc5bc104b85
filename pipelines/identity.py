"""What a run is about, as tags of Dagster: its home, dataset, preset and methods. The history is filtered by them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from assets.workspace import PARTITION, partition_of
from ingestion.workspace import Workspace
from store.presets import PRESETS
from store.remote.mirror import name_of

PREFIX = "radalign/"
METHOD_STEPS = ("pretrained__", "evaluated__", "downstream__", "audited__", "monitored__")


def with_partition(run_config: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """A run config whose dataset is the partition that the tags of the run name, if they do.

    SettingError where the run config names another dataset.
    """
    resources = run_config.get("resources") or {}
    given = (resources.get("workspace") or {}).get("config") or {}
    cohort = partition_of(tags, _resolve(given.get("cohort") or ""))
    if not cohort:
        return dict(run_config)
    return {**run_config, "resources": {**resources, "workspace": {"config": {**given, "cohort": cohort}}}}


def workspace_of(run_config: Mapping[str, Any]) -> Workspace:
    """The workspace that a run config describes; a value may be the name of an environment variable."""
    given = ((run_config.get("resources") or {}).get("workspace") or {}).get("config") or {}
    return Workspace(**{name: _resolve(value) for name, value in given.items() if value is not None})


def _resolve(value: Any) -> Any:
    return os.environ.get(value["env"], "") if isinstance(value, dict) else value


def describe_run(workspace: Workspace, nodes: Collection[str]) -> dict[str, str]:
    """The tags of a run of the assets and graphs called `nodes`."""
    methods = sorted({node.partition("__")[2] for node in nodes if node.startswith(METHOD_STEPS)})
    about = {
        "home": name_of(workspace.home_path()),
        "cohort": workspace.cohort_name(),
        "preset": workspace.preset_name(),
    }
    tags = {f"{PREFIX}{name}": value for name, value in {**about, "method": ",".join(methods)}.items() if value}
    return {**tags, PARTITION: workspace.cohort_name()}


def introduce(workspace: Workspace) -> str:
    """The first line of a run."""
    preset = workspace.preset_name()
    return f"{workspace.cohort_name()} in {name_of(workspace.home_path())}, preset {preset}: {PRESETS[preset]}"
