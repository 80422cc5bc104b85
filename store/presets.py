"""Presets: files of settings in the folder `configs` of the checkout, `configs/<preset>/<topic>.yaml`.

A preset is chosen by name. It gives every setting that nobody gave. Its files may lie in folders of their own.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from store.code import ROOT
from store.errors import UserError, did_you_mean

FOLDER = ROOT / "configs"
DEMO, PAPER, SMALL_GPU = "demo", "paper", "small_gpu"
PRESETS = {
    DEMO: "a small network for two CPU cores and some minutes",
    PAPER: "what the paper of each method states, for a GPU",
    SMALL_GPU: "a pretrained encoder at 224 pixels, for one GPU of 12 GB",
}
VARIABLE = "RADALIGN_PRESET"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, where it is built: five times as fast


class PresetError(UserError, ValueError):
    """There is no such preset; the message is one sentence."""


def chosen_preset(name: str, simulated: bool) -> str:
    """The preset called `name`, else the one in RADALIGN_PRESET, else that of simulated or of real images.

    PresetError where there is none of this name.
    """
    chosen = name or os.environ.get(VARIABLE) or (DEMO if simulated else PAPER)
    if chosen not in PRESETS:
        found = f"preset: {name}" if name else f"{VARIABLE}={chosen}"
        raise PresetError(f"`{found}` is no preset{did_you_mean(chosen, PRESETS)}; presets are {', '.join(PRESETS)}.")
    return chosen


def is_named(name: str) -> bool:
    """Whether somebody chose the preset: with its name, or with RADALIGN_PRESET."""
    return bool(name or os.environ.get(VARIABLE))


def has_presets() -> bool:
    """Whether there is a folder of presets. An installed package has none, and the defaults in code stand."""
    return FOLDER.is_dir()


def has_preset(name: str, topic: str) -> bool:
    """Whether the preset has a file on this topic."""
    return _find_file(name, topic) is not None


@cache
def read_preset(name: str, topic: str) -> dict[str, Any]:
    """The content of a preset's file; PresetError where there is none."""
    if not has_presets():
        raise PresetError(f"There is no preset {name}: presets lie in configs/ of a checkout, not in a package.")
    path = _find_file(name, topic)
    if path is None:
        known = ", ".join(sorted(preset for preset in PRESETS if has_preset(preset, topic))) or "not there"
        raise PresetError(f"There is no preset {name} of {topic}; its presets are {known}.")
    content: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    return content


def _find_file(name: str, topic: str) -> Path | None:
    """The file of a preset on a topic, in its folder or in one below it."""
    return next((FOLDER / name).rglob(f"{topic}.yaml"), None)
