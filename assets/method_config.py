"""The launchpad's fields of `pretrained/<method>`: training's and the method's, with the demo's defaults."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets.launchpad import launchpad_config
from models.registry import recipe, settings_class
from training.config import TrainingConfig
from training.errors import TrainingError
from training.recipes import merge_settings, preset_options

# Set by the asset, not by whoever launches it.
VARIANT = "variant"  # a name, which the training does not see
HIDDEN = ("method", "method_config", "shards", "knowledge", "output", "data_version")


@cache
def demo(method: str) -> dict[str, Any]:
    """The method's recipe with `configs/demo/<method>.yaml` over it; a method without such a file shows its recipe."""
    try:
        return merge_settings(recipe(method), preset_options(method, "demo"))
    except TrainingError:
        return recipe(method)


@cache
def pretraining_config(method: str) -> type[dg.Config]:
    """The configuration of the asset `pretrained/<method>`."""
    chosen = {name: value for name, value in demo(method).items() if name not in HIDDEN}
    training = launchpad_config(TrainingConfig, chosen, HIDDEN)
    own = launchpad_config(settings_class(method), demo(method).get("method_config"))
    nested: Any = (own, Field(default_factory=own, description=f"Settings of {method}."))
    variant = Field(
        "",
        pattern=r"^[A-Za-z0-9+_.-]*$",
        description="Name of this way to train the method, such as ITA of an ablation: results call it mgca:ITA.",
    )
    named: Any = (str, variant)
    return create_model(
        f"Pretrain{own.__name__}",
        __base__=training,
        __doc__=f"How {method} is trained.",
        method_config=nested,
        variant=named,
    )
