"""Tasks by name. A task is a file in `evaluation/tasks/`; being there is what registers it.

Names, settings and descriptions are read without importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohorts.dataset import PURPOSES
from cohorts.subsets import FRACTIONS
from evaluation.errors import EvaluationError
from evaluation.metrics.units import IMAGE, UNITS, VIEWS
from evaluation.tasks.base import ASKED, NAME, Setting, Task
from imaging.dicom.views import FRONTAL
from store.presets import read_preset

if TYPE_CHECKING:
    from cohorts.dataset import Dataset

NO_TASKS = {"__init__", "base", "registry"}


@cache
def task_names() -> tuple[str, ...]:
    """Names of all tasks, in the order of the purposes that they serve."""
    tasks = _tasks()
    return tuple(sorted(tasks, key=lambda name: (PURPOSES.index(tasks[name].purpose), name)))


def task(name: str) -> Task:
    """The task called `name`."""
    tasks = _tasks()
    if name not in tasks:
        raise EvaluationError(f"There is no task {name}; tasks are {', '.join(task_names())}.")
    return tasks[name]


def tasks_on(facts: Dataset) -> tuple[str, ...]:
    """The tasks that a dataset has annotations for."""
    return tuple(name for name in task_names() if task(name).purpose in facts.purposes)


def own_tasks() -> tuple[str, ...]:
    """The tasks on the dataset that a network was pretrained on."""
    return tuple(name for name in task_names() if task(name).on_pretraining_cohort)


def task_module(name: str) -> str:
    """Dotted name of a task's module."""
    return f"{__package__}.{name}"


def preset_settings(preset: str) -> dict[str, Any]:
    """The fields of the resource `evaluation` in a preset, among them the settings by task; none for an empty name."""
    if not preset:
        return {}
    config: dict[str, Any] = read_preset(preset, "evaluation")["resources"]["evaluation"]["config"]
    return config


def preset_options(preset: str) -> dict[str, dict[str, Any]]:
    """The settings by task in a preset."""
    return {name: value for name, value in preset_settings(preset).items() if name in task_names()}


def check_options(options: Mapping[str, Mapping[str, Any]]) -> None:
    """EvaluationError where settings by task name no task, or a setting that the task does not have."""
    for name in options:
        if other := task(name).settings_of:
            raise EvaluationError(f"The task {name} has the settings of {other}: give them under {other}.")
        task(name).read_settings(options)


def repeated_settings(
    tasks: Sequence[str],
    fractions: Sequence[float],
    repeats: int,
    unit: str = IMAGE,
    ask: str = NAME,
    view: str = FRONTAL,
) -> list[tuple[str, Setting]]:
    """Every task with every setting that it is evaluated with; EvaluationError for amounts that cannot be evaluated."""
    if unit not in UNITS:
        raise EvaluationError(f"The unit of the evaluation is `{unit}`, but must be one of {', '.join(UNITS)}.")
    if ask not in ASKED:
        raise EvaluationError(f"Findings are asked for by `{ask}`, but must be by {' or '.join(ASKED)}.")
    if view not in VIEWS:
        raise EvaluationError(f"The view of the evaluation is `{view}`, but must be one of {', '.join(VIEWS)}.")
    expect_fractions(fractions)
    if repeats < 1:
        raise EvaluationError(f"The number of repeats is {repeats}, but must be at least 1.")
    amount = fractions, repeats, unit, ask, view
    return [(name, setting) for name in tasks for setting in task(name).repeated_settings(*amount)]


def expect_fractions(fractions: Sequence[float]) -> None:
    """EvaluationError for shares of the labels that `subsets` does not list."""
    if unknown := set(fractions) - set(FRACTIONS):
        known = ", ".join(map(str, FRACTIONS))
        raise EvaluationError(f"evaluation: fractions names {min(unknown)}, which is not one of {known}.")


def explain_units(settings: Sequence[tuple[str, Setting]]) -> list[str]:
    """Where some tasks score studies, a sentence for each of the others, which score images."""
    if all(setting.unit == IMAGE for _, setting in settings):
        return []
    reasons = {name: task(name).only_images for name, setting in settings if setting.unit == IMAGE}
    return [f"{name} has one score per image: {why}" for name, why in reasons.items()]


@cache
def _tasks() -> dict[str, Task]:
    files = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NO_TASKS)
    return {name: _load(name) for name in files}


def _load(name: str) -> Task:
    module = import_module(task_module(name))
    (kind,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if kind.name != name:
        raise ValueError(f"The task in {name}.py calls itself {kind.name}: a task has the name of its file")
    return kind()
