"""How much the evaluation does: one resource, the same for every method and dataset of a run."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets.launchpad import launchpad_config
from cohorts.subsets import FRACTIONS
from evaluation.errors import EvaluationError
from evaluation.tasks.registry import preset_settings, task, task_names
from store.presets import default_preset


class _Amount(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What is evaluated, and how often."""

    cohorts: list[str] = Field(
        default=[], description="Downstream datasets to evaluate on. Empty: every one that has an archive."
    )
    splits: dict[str, str] = Field(
        default={},
        description="Downstream dataset -> family of its splits, such as rsna_pneumonia: 60/20/20. The others have "
        "their first.",
    )
    fractions: list[float] = Field(
        default=list(FRACTIONS), description="Shares of the train patients whose labels are seen."
    )
    every_run: bool = Field(
        default=False,
        description="Evaluate the latest run of every variant and every seed of the method, not the very latest alone.",
    )
    repeats: int = Field(
        default=1, ge=1, description="Repeats of whatever is trained, each with its own patients, order and layers."
    )
    simulated_studies: int = Field(
        default=600,
        ge=0,
        description="Studies per simulated archive, for datasets without one when pretraining is simulated; 0: none.",
    )


def tasks_with_settings() -> dict[str, type]:
    """The dataclass of settings of each task that has its own."""
    found = {name: task(name) for name in task_names()}
    return {name: one.settings for name, one in found.items() if one.settings and not one.settings_of}


def options_of(settings: Any) -> dict[str, dict[str, Any]]:
    """Options by task, of `EvaluationSettings`, whose fractions must be those that `subsets` lists."""
    if unknown := set(settings.fractions) - set(FRACTIONS):
        known = ", ".join(map(str, FRACTIONS))
        raise EvaluationError(f"evaluation.fractions names {min(unknown)}, which is not one of {known}.")
    return {name: getattr(settings, name).model_dump() for name in tasks_with_settings()}


def _evaluation_settings() -> type[_Amount]:
    defaults = dict(preset_settings(default_preset()))
    fields: dict[str, Any] = {}
    for name, dataclass in tasks_with_settings().items():
        options = launchpad_config(dataclass, defaults.pop(name, None))
        fields[name] = (options, Field(default_factory=options, description=f"How the task {name} is done."))
    for name, value in defaults.items():
        own = _Amount.model_fields[name]
        fields[name] = (own.annotation, Field(default=value, description=own.description))
    return create_model("EvaluationSettings", __base__=_Amount, __doc__=_Amount.__doc__, **fields)


EvaluationSettings = _evaluation_settings()
