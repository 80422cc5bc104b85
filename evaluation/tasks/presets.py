"""Presets of the evaluation: the files `configs/<name>/evaluation.yaml` of the checkout."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from evaluation.errors import EvaluationError
from store.code import ROOT

FOLDER = ROOT / "configs"
DEMO = "demo"  # what the Dagster jobs use for settings that nobody gives


def default_preset() -> str:
    """The demo's preset; an installed package has no presets, and the defaults in code stand."""
    return DEMO if FOLDER.is_dir() else ""


@cache
def preset_settings(name: str) -> dict[str, Any]:
    """The fields of the resource `evaluation` in a preset, among them the settings by task; none for an empty name."""
    if not name:
        return {}
    path = FOLDER / name / "evaluation.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in FOLDER.glob("*/evaluation.yaml"))) or "none here"
        raise EvaluationError(f"There is no preset {name} of the evaluation; presets are {known}.")
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["resources"]["evaluation"]["config"]
    return config


def preset_options(name: str) -> dict[str, dict[str, Any]]:
    """The settings by task in a preset."""
    from evaluation.tasks.registry import task_names

    return {key: value for key, value in preset_settings(name).items() if key in task_names()}
