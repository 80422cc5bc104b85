"""How much the downstream evaluation asks for: one resource, the same for every method and cohort of a run."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg
import yaml
from pydantic import Field, create_model

from assets.documented import documented_config
from assets.workspace import CHECKOUT

DEMO = "configs/demo/evaluation.yaml"
OPTIONS = {  # task -> the file of its options
    "fine_tune": "evaluation/tasks/fine_tune.py",
    "detection": "evaluation/tasks/detection.py",
    "segmentation": "evaluation/tasks/segmentation.py",
    "phrase_grounding": "evaluation/tasks/phrase_grounding.py",
    "image_image_retrieval": "evaluation/tasks/image_image_retrieval.py",
    "image_report_retrieval": "evaluation/tasks/image_report_retrieval.py",
}
SHARED_OPTIONS = {"grading": "fine_tune"}  # tasks that go by those of another
FRACTIONS = [0.01, 0.1, 1.0]  # of the patients' labels, as in the papers: cohorts.subsets.FRACTIONS, not imported


class _Amount(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What is evaluated, and how often."""

    cohorts: list[str] = Field(
        default=[], description="Downstream cohorts to evaluate on. Empty: every one that has an archive."
    )
    splits: dict[str, str] = Field(
        default={},
        description="Downstream cohort -> family of its splits, such as rsna_pneumonia: 60/20/20. The others have "
        "their first.",
    )
    fractions: list[float] = Field(default=FRACTIONS, description="Shares of the train patients whose labels are seen.")
    every_run: bool = Field(
        default=False,
        description="Evaluate the latest run of every variant and every seed of the method, not the very latest alone.",
    )
    draws: int = Field(
        default=1, ge=1, description="Repetitions of whatever is trained, each with its own patients, order and layers."
    )
    simulated_studies: int = Field(
        default=600,
        ge=0,
        description="Studies per simulated archive, for cohorts that have none when pretraining is simulated; 0: none.",
    )


@cache
def _settings() -> type[_Amount]:
    defaults = demo_settings()
    fields: dict[str, Any] = {}
    for task, source in OPTIONS.items():
        options = documented_config(source, defaults.pop(task, None))
        fields[task] = (options, Field(default_factory=options, description=f"How the task {task} is done."))
    for name, value in defaults.items():
        own = _Amount.model_fields[name]
        fields[name] = (own.annotation, Field(default=value, description=own.description))
    return create_model("EvaluationSettings", __base__=_Amount, __doc__=_Amount.__doc__, **fields)


def options_of(settings: Any) -> dict[str, dict[str, Any]]:
    """Options by task, of `EvaluationSettings`, whose fractions must be those that `subsets` lists."""
    if unknown := set(settings.fractions) - set(FRACTIONS):
        known = ", ".join(map(str, FRACTIONS))
        raise dg.Failure(
            f"evaluation.fractions names {min(unknown)}, which is not one of {known}.", allow_retries=False
        )
    own = {task: getattr(settings, task).model_dump() for task in OPTIONS}
    return {**own, **{task: own[other] for task, other in SHARED_OPTIONS.items()}}


def demo_settings() -> dict[str, Any]:
    """The settings of the demo, which stand for whatever a run configuration does not set."""
    with (CHECKOUT / DEMO).open(encoding="utf-8") as file:
        config: dict[str, Any] = yaml.safe_load(file)["resources"]["evaluation"]["config"]
    return config


EvaluationSettings = _settings()
