"""Where a run's settings come from, if not from its user: the method's own recipe, and the files in `configs/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from store.code import ROOT
from training.errors import TrainingError

PRESETS = ROOT / "configs"
NESTED = ("method_config", "augmentation")  # merged key by key where settings are laid over others


@cache
def preset_options(method: str, name: str) -> dict[str, Any]:
    """The settings in the preset `configs/<name>/<method>.yaml` of the checkout."""
    if not PRESETS.is_dir():
        raise TrainingError(f"there is no preset `{name}`: presets lie in configs/ of a checkout, not in a package")
    path = PRESETS / name / f"{method}.yaml"
    if not path.exists():
        known = sorted(item.parent.name for item in PRESETS.glob(f"*/{method}.yaml"))
        raise TrainingError(f"there is no preset `{name}` of {method}; choose one of {', '.join(known)}")
    try:
        options: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["ops"][f"pretrained__{method}"][
            "config"
        ]
    except (KeyError, TypeError) as error:
        raise TrainingError(f"{path} has no settings under ops: pretrained__{method}: config") from error
    return options


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it."""
    nested = {key: {**base.get(key, {}), **over[key]} for key in NESTED if key in over}
    return {**base, **over, **nested}
