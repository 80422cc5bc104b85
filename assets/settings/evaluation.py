"""How much the evaluation does: one resource, the same for every method and dataset of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets.settings.launchpad import given_values, preset_config, preset_fields
from cohorts.subsets import FRACTIONS
from evaluation.errors import EvaluationError
from evaluation.figures.catalogue import EMBEDDED
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import expect_fractions, preset_settings, repeated_settings, task, task_names
from models.compute import AUTO, Compute
from store.errors import SettingError
from store.presets import PRESETS, has_preset
from store.settings import check_bounds, setting

FRACTIONS_TAG = "radalign/fractions"  # of a job: the label fractions of its runs, unless a run gives others


@dataclass(frozen=True)
class Amount:
    """What is evaluated, and how often."""

    cohorts: list[str] = setting([], "Downstream datasets to evaluate on. Empty: every one that has an archive.")
    splits: dict[str, str] = setting(
        {},
        "Downstream dataset -> family of its splits, such as rsna_pneumonia: 60/20/20. The others have their first.",
    )
    fractions: list[float] = setting(list(FRACTIONS), "Shares of the train patients whose labels are seen.")
    every_run: bool = setting(
        False, "Evaluate the latest run of every variant and every seed of the method, not the very latest alone."
    )
    repeats: int = setting(1, "Repeats of whatever is trained, each with its own patients, order and layers.", least=1)
    unit: str = setting("image", "What has one score: `image`, or `study`, by the mean of the scores of its images.")
    ask: str = setting("name", "What methods of names ask for a finding with: `name`, or `description` (MedKLIP).")
    view: str = setting(
        "frontal",
        "Images that are learnt from and scored: `frontal`, `lateral` or `all`; downstream datasets are ingested with "
        "them.",
    )
    embedded: int = setting(EMBEDDED, "Images at most in a figure of embeddings (t-SNE); MGCA: 1,600.", least=5)
    simulated_studies: int = setting(
        600, "Studies per simulated archive, for datasets without one when pretraining is simulated; 0: none.", least=0
    )
    device: str = setting(AUTO, "Where networks compute: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU where there is one.")
    precision: str = setting(AUTO, "`fp32`, `bf16` (of three digits, faster on a GPU), or `auto`: fp32.")

    def __post_init__(self) -> None:
        if (self.device, self.precision) != (AUTO, AUTO):
            self.compute.resolve()  # ModelError for a device that this machine lacks

    def repeated_settings(self, tasks: Sequence[str]) -> list[tuple[str, Setting]]:
        """Every task with every setting that it is evaluated with; EvaluationError for amounts that cannot be."""
        return repeated_settings(tasks, self.fractions, self.repeats, self.unit, self.ask, self.view)

    @property
    def compute(self) -> Compute:
        """Where networks compute."""
        return Compute(self.device, self.precision)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a run: what and how often, and the settings by task."""

    amount: Amount
    options: dict[str, dict[str, Any]]


def tasks_with_settings() -> dict[str, type]:
    """The dataclass of settings of each task that has its own."""
    found = {name: task(name) for name in task_names()}
    return {name: one.settings for name, one in found.items() if one.settings and not one.settings_of}


def evaluation_presets() -> dict[str, dict[str, Any]]:
    """Preset -> its fields of the resource, among them the settings by task, over the defaults in code."""
    return {name: preset_settings(name) if has_preset(name, "evaluation") else {} for name in PRESETS}


def chosen_evaluation(config: Any, preset: str, tags: Mapping[str, str]) -> Evaluation:
    """What a run evaluates: its `EvaluationSettings`, else what the tags of its job say, else the preset's.

    EvaluationError for fractions that `subsets` does not list, and amounts that cannot be.
    """
    base, given = evaluation_presets()[preset], given_values(config)
    if FRACTIONS_TAG in tags:
        base = {**base, "fractions": [float(share) for share in tags[FRACTIONS_TAG].split(",")]}
    options = {name: {**base.get(name, {}), **given.get(name, {})} for name in tasks_with_settings()}
    names = [item.name for item in fields(Amount)]
    amount = Amount(**{name: value for name, value in {**base, **given}.items() if name in names})
    try:
        check_bounds(amount)
    except SettingError as error:
        raise EvaluationError(f"evaluation: {error}") from None
    expect_fractions(amount.fractions)
    return Evaluation(amount, options)


def _evaluation_settings() -> type[dg.ConfigurableResource[Any]]:
    presets, tasks = evaluation_presets(), tasks_with_settings()
    amounts = {
        preset: {name: value for name, value in given.items() if name not in tasks} for preset, given in presets.items()
    }
    fields = preset_fields(Amount, amounts)
    for name, settings in tasks.items():
        options = preset_config(settings, {preset: given.get(name, {}) for preset, given in presets.items()})
        fields[name] = (options, Field(default_factory=options, description=f"How the task {name} is done."))
    return create_model("EvaluationSettings", __base__=dg.ConfigurableResource, __doc__=Amount.__doc__, **fields)


EvaluationSettings = _evaluation_settings()
