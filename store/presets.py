"""Presets: files of settings in the folder `configs` of the checkout, `configs/<preset>/<topic>.yaml`."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from store.code import ROOT
from store.errors import UserError

FOLDER = ROOT / "configs"
DEMO = "demo"  # what the Dagster jobs use for settings that nobody gives


class PresetError(UserError, ValueError):
    """There is no such preset; the message is one sentence."""


def default_preset() -> str:
    """The demo's preset. An installed package has no presets, and the defaults in code stand: the name is empty."""
    return DEMO if FOLDER.is_dir() else ""


@cache
def read_preset(name: str, topic: str) -> dict[str, Any]:
    """The content of a preset's file; PresetError where there is none."""
    if not FOLDER.is_dir():
        raise PresetError(f"There is no preset {name}: presets lie in configs/ of a checkout, not in a package.")
    path = FOLDER / name / f"{topic}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in FOLDER.glob(f"*/{topic}.yaml"))) or "not there"
        raise PresetError(f"There is no preset {name} of {topic}; its presets are {known}.")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
