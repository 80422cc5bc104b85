"""What a run does where nobody says otherwise: the values of its preset, with those that were given over them."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import dagster as dg

from assets.settings.launchpad import given_values
from models.registry import settings_class
from store.presets import PRESETS, has_preset, read_preset
from training.config import TrainingConfig
from training.recipes import merge_settings, preset_settings

VARIANT, LAUNCHER = "variant", "launcher"  # fields in the config of a training, which the training does not see
INGEST = "ingest"  # the topic of the images


@cache
def training_presets(method: str) -> dict[str, dict[str, Any]]:
    """Preset -> the settings of a method's training over the defaults in code."""
    return {name: preset_settings(method, name) for name in PRESETS}


def chosen_training(method: str, config: dg.Config, preset: str) -> dict[str, Any]:
    """The settings of a training in full, without its method.

    TrainingError for those that cannot be.
    """
    given = {name: value for name, value in given_values(config).items() if name not in (VARIANT, LAUNCHER)}
    whole = merge_settings(training_presets(method)[preset], given)
    network = {**asdict(settings_class(method)()), **whole.get("method_config", {})}
    settings = asdict(
        TrainingConfig.from_dict({**whole, "method": method, "method_config": network}, f"ops.pretrained__{method}")
    )
    return {name: value for name, value in settings.items() if name != "method"}


def image_presets() -> dict[str, dict[str, Any]]:
    """Preset -> the settings of the images. They are the same for every method, so that all share the shards."""
    found = {}
    for name in PRESETS:
        content = read_preset(name, INGEST) if has_preset(name, INGEST) else {}
        found[name] = dict(content["ops"]["images"]["config"]) if content else {}
    return found
