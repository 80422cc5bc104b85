"""Where a run's settings come from, if not from its user: the method's own recipe, and the files in `configs/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.presets import PresetError, has_preset, read_preset
from training.errors import TrainingError

NESTED = ("method_config", "augmentation")  # merged key by key where settings are laid over others


def preset_options(method: str, name: str) -> dict[str, Any]:
    """The settings in the preset `configs/<name>/<method>.yaml` of the checkout."""
    try:
        options: dict[str, Any] = read_preset(name, method)["ops"][f"pretrained__{method}"]["config"]
    except PresetError as error:
        raise TrainingError(str(error)) from None
    except (KeyError, TypeError) as error:
        raise TrainingError(
            f"configs/{name}/{method}.yaml has no settings under ops: pretrained__{method}: config"
        ) from error
    return options


def preset_settings(method: str, name: str) -> dict[str, Any]:
    """The recipe of a method with a preset over it.

    The recipe is what the paper states. A method of which the preset has no file has its recipe.
    """
    from models.registry import recipe

    base = recipe(method)
    return merge_settings(base, preset_options(method, name)) if has_preset(name, method) else dict(base)


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it."""
    nested = {key: {**base.get(key, {}), **over[key]} for key in NESTED if key in over}
    return {**base, **over, **nested}
