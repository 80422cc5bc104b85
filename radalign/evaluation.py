"""Evaluates a model on a dataset: from the archive to a table of numbers with intervals, without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from radalign.errors import RadalignError, one_sentence
from radalign.model import Model

if TYPE_CHECKING:
    import pandas as pd

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
    from evaluation.tasks.registry import own_tasks, tasks_on
    from ingestion.pipeline import update

    from cohorts import registry
    from evaluation.dataset import EvaluationDataset
    from evaluation.evaluator import Evaluator
    from ingestion.workspace import Workspace

    with one_sentence():
        facts = registry.dataset(dataset)
        workspace = Workspace(home=home, cohort=dataset, archive_root=str(root))
        update(
            workspace,
            {"images": {"size": model.card.shard_size or model.card.size}, "inventory": {"split": split}},
            log,
        )
        known = tasks_on(facts) or own_tasks()
        chosen = list(known if tasks is None else tasks)
        if unknown := [task for task in chosen if task not in known]:
            raise RadalignError(f"{dataset} has no annotations for {unknown[0]}; its tasks are {', '.join(known)}.")
        evaluator = Evaluator(EvaluationDataset(workspace, facts), model.run, options or {}, log)
        outcomes = list(evaluator.evaluate(chosen, fractions, repeats, untrained=untrained))
    return _as_frame(outcomes)


def _as_frame(outcomes: Sequence[Any]) -> pd.DataFrame:
    import pandas as pd

    rows = [row for outcome in outcomes for row in outcome.rows()]
    return pd.DataFrame(rows, columns=list(COLUMNS))
