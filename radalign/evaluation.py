"""Evaluates a model on a dataset: from the archive to a table of numbers with intervals, without Dagster."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING, Any

from models.compute import Compute
from radalign.errors import RadalignError, one_sentence
from radalign.model import Model

if TYPE_CHECKING:
    import pandas as pd

    from ingestion.pipeline import IngestionSettings
    from ingestion.workspace import Workspace

Log = Callable[[str], None]
COLUMNS = ("method", "cohort", "task", "setting", "repeat", "metric", "class", "value", "low", "high", "n", "note")


def evaluate(
    model: Model,
    dataset: str,
    root: str | PathLike[str] = "",
    tasks: Sequence[str] | None = None,
    *,
    home: str = "",
    fractions: Sequence[float] | None = None,
    repeats: int = 1,
    preset: str | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    split: str = "",
    untrained: bool = True,
    unit: str = "image",
    ask: str = "name",
    view: str = "frontal",
    device: str = "",
    precision: str = "",
    log: Log = lambda line: None,
) -> pd.DataFrame:
    """Every number of `tasks` on `dataset`, one row each, with its 95 % interval by patient.

    A result that is in the home already, for the same weights, data, code and precision, is not computed again. The
    `attrs` of the table name the device and the precision.

    Args:
        model: what `radalign.load` gives.
        dataset: its name, as `radalign datasets` lists it.
        root: folder of its archive (default: RADALIGN_<DATASET>_ROOT).
        tasks: names of tasks that the dataset has annotations for (default: all of them).
        home: where shards and results are kept (default: RADALIGN_HOME, else var). The shards of the dataset are
            brought up to date there first.
        fractions: shares of the training patients whose labels a classifier sees (default: 0.01, 0.1 and 1).
        repeats: how often whatever is trained is trained anew.
        preset: settings of the tasks: `demo` (minutes on two cores; default of simulated images), `paper` (default of
            real ones), another folder of configs/, or "" for the defaults in code.
        options: settings by task, over those of the preset.
        split: family of splits, where the dataset has several (default: its first).
        untrained: whether the same network before training is evaluated too.
        unit: what has one score: `image`, or `study`, whose score is the mean of those of its images. Tasks that have
            a meaning for images alone, such as grounding, keep the image, which `log` is told.
        ask: what zero-shot classification asks for a finding with: its `name`, or its `description`.
        view: which images are learnt from and scored: `frontal`, `lateral` or `all`. The dataset is ingested with them.
        device: where networks compute, as for `radalign.load` (default: that of the model).
        precision: the precision that they compute in, as for `radalign.load` (default: that of the model).
        log: called with a line of progress.

    Raises:
        RadalignError: something that the caller can mend; the message is one sentence.
    """
    from cohorts import registry
    from cohorts.subsets import FRACTIONS
    from evaluation.dataset import EvaluationDataset
    from evaluation.evaluator import Evaluator
    from evaluation.metrics.units import VIEWS
    from evaluation.tasks.registry import (
        check_options,
        own_tasks,
        preset_options,
        repeated_settings,
        tasks_on,
    )
    from ingestion.pipeline import update
    from ingestion.versions import at_version, living, pin
    from ingestion.workspace import Workspace
    from store.remote import mirror

    with one_sentence():
        compute = Compute(device or model.compute.device, precision or model.compute.precision).resolve()
        facts = registry.dataset(dataset)
        known = tasks_on(facts) or own_tasks()
        chosen = list(known if tasks is None else tasks)
        if unknown := [task for task in chosen if task not in known]:
            raise RadalignError(f"{dataset} has no annotations for {unknown[0]}; its tasks are {', '.join(known)}.")
        workspace = Workspace(home=home, cohort=dataset, archive_root=str(root))
        settings = preset_options(_usual_preset(workspace) if preset is None else preset)
        settings = {**settings, **{task: {**settings.get(task, {}), **own} for task, own in (options or {}).items()}}
        check_options(settings)
        fractions = FRACTIONS if fractions is None else fractions
        repeated_settings(chosen, fractions, repeats, unit, ask, view)  # refuses amounts before any work
        mirror.refresh(workspace.home_path())
        state = update(workspace, _ingestion_settings(model, workspace, split, VIEWS[view]), log)
        run = f"python-{os.getpid()}"
        with living(workspace.home_path(), run):
            pin(workspace, run, state)
            kept = EvaluationDataset(at_version(workspace, state["version"]), facts)
            evaluator = Evaluator(kept, model.run, settings, log, compute=compute)
            outcomes = list(evaluator.evaluate(chosen, fractions, repeats, untrained, unit, ask, view))
    return _as_frame(outcomes, compute)


def _usual_preset(workspace: Workspace) -> str:
    """That of the dataset; an installed package has none, and the defaults in code stand."""
    from store.presets import chosen_preset, has_presets

    return chosen_preset("", workspace.shows_simulation()) if has_presets() else ""


def _ingestion_settings(model: Model, workspace: Workspace, split: str, views: Sequence[str]) -> IngestionSettings:
    """The settings that the dataset was ingested with before, with images like those that the model was trained on."""
    from cohorts.phantom.archive import read_record
    from cohorts.phantom.config import PhantomConfig
    from ingestion.pipeline import SETTINGS, IngestionSettings, add_views, last_settings

    before = last_settings(workspace)
    size = model.card.shard_size or model.card.size
    before["images"] = {**before.get("images", {}), "squash": False, **model.card.decoding, "size": size}
    inventory = {"split": split, "views": add_views(workspace, views)}  # an empty split: the first of the dataset
    before["inventory"] = {**before.get("inventory", {}), **inventory}
    settings = {name: SETTINGS[name](**values) for name, values in before.items()}
    record = read_record(workspace.root()) if workspace.simulated() else None
    if record:
        settings["archive"] = PhantomConfig(**{name: record[name] for name in PhantomConfig.__dataclass_fields__})
    return IngestionSettings(**settings)


def _as_frame(outcomes: Sequence[Any], compute: Compute) -> pd.DataFrame:
    import pandas as pd

    rows = [row for outcome in outcomes for row in outcome.rows()]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs.update(asdict(compute))
    return table
