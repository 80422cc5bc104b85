"""Evaluates a model on a dataset: from the archive to a table of numbers with intervals, without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

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
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    repeats: int = 1,
    options: dict[str, dict[str, Any]] | None = None,
    split: str = "",
    untrained: bool = True,
    log: Log = lambda line: None,
) -> pd.DataFrame:
    """Every number of `tasks` on `dataset`, one row each, with its 95 % interval by patient.

    `root` is the folder of the dataset's archive (default: RADALIGN_<DATASET>_ROOT); its shards are brought up to date
    in `home` (default: RADALIGN_HOME, else var) first. `tasks` are names of tasks that the dataset has annotations
    for (default: all of them). `fractions` are the shares of the training patients whose labels a classifier sees, and
    `repeats` says how often whatever is trained is trained anew. `options` are settings by task. With `untrained` the
    same network before training is evaluated too. A result that is in the home already, for the same weights, data
    and code, is not computed again.
    """
    from cohorts import registry
    from evaluation.dataset import EvaluationDataset
    from evaluation.evaluator import Evaluator
    from evaluation.tasks.registry import own_tasks, tasks_on
    from ingestion.pipeline import update
    from ingestion.workspace import Workspace

    with one_sentence():
        facts = registry.dataset(dataset)
        known = tasks_on(facts) or own_tasks()
        chosen = list(known if tasks is None else tasks)
        if unknown := [task for task in chosen if task not in known]:
            raise RadalignError(f"{dataset} has no annotations for {unknown[0]}; its tasks are {', '.join(known)}.")
        workspace = Workspace(home=home, cohort=dataset, archive_root=str(root))
        update(workspace, _ingestion_settings(model, workspace, split), log)
        evaluator = Evaluator(EvaluationDataset(workspace, facts), model.run, options or {}, log)
        outcomes = list(evaluator.evaluate(chosen, fractions, repeats, untrained=untrained))
    return _as_frame(outcomes)


def _ingestion_settings(model: Model, workspace: Workspace, split: str) -> IngestionSettings:
    """The settings that the dataset was ingested with before, with images of the side that the model was trained on."""
    from cohorts.phantom.archive import read_record
    from cohorts.phantom.config import PhantomConfig
    from ingestion.pipeline import SETTINGS, IngestionSettings, last_settings

    before = last_settings(workspace)
    before.setdefault("images", {})["size"] = model.card.shard_size or model.card.size
    if split:
        before.setdefault("inventory", {})["split"] = split
    settings = {name: SETTINGS[name](**values) for name, values in before.items()}
    record = read_record(workspace.root()) if workspace.simulated() else None
    if record:
        settings["archive"] = PhantomConfig(**{name: record[name] for name in PhantomConfig.__dataclass_fields__})
    return IngestionSettings(**settings)


def _as_frame(outcomes: Sequence[Any]) -> pd.DataFrame:
    import pandas as pd

    rows = [row for outcome in outcomes for row in outcome.rows()]
    return pd.DataFrame(rows, columns=list(COLUMNS))
