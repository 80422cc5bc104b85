"""The launchpad's fields of `pretrained/<method>`: training's and method's, with the demo's defaults."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets.documented import documented_config
from training.errors import TrainingError
from training.recipes import merged, preset_options, recipe

# Set by the asset, not by whoever launches it.
VARIANT = "variant"  # says nothing to the training
HIDDEN = ("method", "method_config", "shards", "knowledge", "output", "data_version")


@cache
def demo(method: str) -> dict[str, Any]:
    """The method's recipe with `configs/demo/<method>.yaml` over it; a method without such a file shows its recipe."""
    try:
        return merged(recipe(method), preset_options(method, "demo"))
    except TrainingError:
        return recipe(method)


@cache
def pretraining_config(method: str) -> type[dg.Config]:
    """The configuration of the asset `pretrained/<method>`."""
    chosen = {name: value for name, value in demo(method).items() if name not in HIDDEN}
    training = documented_config("training/config.py", chosen, HIDDEN)
    own = documented_config(f"models/methods/{method}.py", demo(method).get("method_config"))
    nested: Any = (own, Field(default_factory=own, description=f"Settings of {method}."))
    variant = Field(
        "",
        pattern=r"^[A-Za-z0-9+_.-]*$",
        description="A name for this way to train the method, such as ITA of an ablation: results call it mgca:ITA.",
    )
    named: Any = (str, variant)
    return create_model(
        f"Pretrain{own.__name__}",
        __base__=training,
        __doc__=f"How {method} is trained.",
        method_config=nested,
        variant=named,
    )
