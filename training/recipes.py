"""Where a run's settings come from, if not from its user: the method's own recipe, and the files in `configs/`.

Nothing here imports a method: Dagster reads recipes to fill its launchpad, and must not wait for torch.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from training.errors import TrainingError

ROOT = Path(__file__).resolve().parents[1]
PRESETS = ROOT / "configs"
NESTED = ("method_config", "augmentation")  # merged key by key where settings are laid over others


@cache
def recipe(method: str) -> dict[str, Any]:
    """The literal `TRAINING` of a method's file: how its paper trains it; empty where there is none."""
    path = ROOT / "models" / "methods" / f"{method}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "TRAINING" for target in targets):
            found: dict[str, Any] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return found
    return {}


@cache
def preset_options(method: str, name: str) -> dict[str, Any]:
    """What the run configuration `configs/<name>/<method>.yaml` asks of the training."""
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


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it."""
    nested = {key: {**base.get(key, {}), **over[key]} for key in NESTED if key in over}
    return {**base, **over, **nested}
