"""Group `evaluation`: what a network knows without being shown a label, before and after pretraining."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets import previews, tracking
from assets.examination import WEIGHTS, Examination, classes_of, examine
from assets.tracking import Tracker
from assets.training_runs import TrainedRun, is_trained, trained_run
from assets.workspace import PHANTOM, Workspace
from evaluation.values import ResultValue
from models.registry import method_names

GROUP = "evaluation"
# Per task what a network answers, what that is held against, and what the asset shows.
TASKS = {
    "zero_shot_classification": (
        "scores",
        "labels",
        "Which findings are there, told from their descriptions.",
    ),
    "zero_shot_grounding": (
        "maps",
        "masks",
        "Where the findings are, told from the attention of their queries.",
    ),
}
PICTURED = 6  # radiographs in the picture of heat maps
Log = Callable[[str], None]


def evaluated_asset(method: str, task: str) -> dg.AssetsDefinition:
    """The asset `evaluated/<method>/<task>`."""

    @dg.asset(
        key=["evaluated", method, task],
        deps=[dg.AssetKey(["pretrained", method]), "shards", "studies"],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        description=f"{TASKS[task][2]} {method}, trained and untrained, with 95 % intervals by patient.",
    )
    def evaluated(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
        run = trained_run(workspace, method)
        values = {weights: evaluate(workspace, run, weights, task, context.log.info) for weights in WEIGHTS}
        if not values["trained"]:
            return dg.MaterializeResult(
                metadata={"note": "This cohort's test split has nothing to score the method on."}
            )
        tracker = tracking.attach(workspace.home_path(), run.mlflow_run)
        for weights, numbers in values.items():
            tracker.log_summary(_summary(task, weights, numbers))
        picture = _picture(workspace, run, task, tracker, context.log.info)
        return dg.MaterializeResult(metadata={**_metadata(values), **picture})

    return evaluated


@dg.asset(
    name="results",
    group_name=GROUP,
    kinds={"duckdb", "parquet"},
    deps=[dg.AssetKey(["evaluated", method, task]) for method in method_names() for task in TASKS],
)
def results_asset(workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Every number measured so far, of all methods and cohorts, with what produced it."""
    from evaluation.result_tables import as_markdown
    from evaluation.results import read_results

    table = read_results(workspace.home_path())
    macro = table.filter(pc.equal(table["class"], "macro"))
    columns = ("method", "cohort", "task", "metric", "value", "low", "high", "n", "seed", "checkpoint")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "methods": previews.counts(table, "cohort", "method", "task"),
            "numbers": previews.head(macro, columns, 100),
            "tables": dg.MetadataValue.md(as_markdown(latest_results(workspace))),
        }
    )


def latest_results(workspace: Workspace) -> pa.Table:
    """The numbers of this cohort, of each method's latest run only."""
    from evaluation.results import read_results

    table = read_results(workspace.home_path(), {"cohort": workspace.cohort_name()})
    runs = [trained_run(workspace, method) for method in method_names() if is_trained(workspace, method)]
    digests = [digest for run in runs for digest in (run.checkpoint_digest, run.untrained_digest)]
    latest = pc.is_in(table["checkpoint"], value_set=pa.array(digests, pa.string()))
    return table.filter(pc.or_(latest, pc.equal(table["method"], "supervised")))


def evaluate(workspace: Workspace, run: TrainedRun, weights: str, task: str, log: Log) -> list[ResultValue]:
    """Score one network on the test split, with thresholds from the validate split, and write the rows."""
    from evaluation.errors import EvaluationError

    classes = list(classes_of(workspace))
    test = examine(workspace, run, weights, "test", log)
    if not classes or not len(test.data):
        return []
    try:
        values = _score(task, classes, examine(workspace, run, weights, "validate", log), test)
    except EvaluationError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    _write(workspace, run, weights, task, values)
    return values


def _score(task: str, classes: Sequence[str], validate: Examination, test: Examination) -> list[ResultValue]:
    scoring = import_module(f"evaluation.{task}")
    answer, truth, _ = TASKS[task]
    thresholds = scoring.best_thresholds(getattr(validate.answers, answer), getattr(validate.truth, truth))
    return scoring.score(
        getattr(test.answers, answer), getattr(test.truth, truth), classes, test.truth.subjects, thresholds
    )


def _write(workspace: Workspace, run: TrainedRun, weights: str, task: str, values: Sequence[ResultValue]) -> None:
    from evaluation.results import ResultKey, write_results

    trained = weights == "trained"
    key = ResultKey(
        method=run.method if trained else f"untrained:{run.method}",
        checkpoint=run.checkpoint_digest if trained else run.untrained_digest,
        mlflow_run=run.mlflow_run,
        cohort=workspace.cohort_name(),
        data_version=run.data_version,
        seed=run.seed,
    )
    write_results(workspace.home_path(), task, key, values)


def _summary(task: str, weights: str, values: Sequence[ResultValue]) -> dict[str, float]:
    prefix = f"{task}/" if weights == "trained" else f"{task}/untrained/"
    return {f"{prefix}{value.metric}/{value.class_name}": value.value for value in values if value.value is not None}


def _metadata(values: Mapping[str, Sequence[ResultValue]]) -> dict[str, Any]:
    """The means as numbers, which Dagster plots over the materializations, and the classes as a table."""
    means = {
        f"{value.metric}{'' if weights == 'trained' else ' untrained'}": value.value
        for weights in WEIGHTS
        for value in values[weights]
        if value.class_name == "macro" and value.value is not None
    }
    rows = [
        (trained.metric, trained.class_name, _interval(trained), _interval(untrained), trained.n)
        for trained, untrained in zip(values["trained"], values["untrained"], strict=True)
    ]
    return {**means, "numbers": previews.markdown_table(("metric", "class", *WEIGHTS, "n"), rows)}


def _interval(value: ResultValue) -> str:
    if value.value is None or value.low is None:
        return "-" if value.value is None else f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _roc(classes: Sequence[str], test: Examination, note: str) -> bytes:
    from evaluation.pictures import roc_curves

    return roc_curves(test.answers.scores, test.truth.labels, classes, note)


def _heat_maps(classes: Sequence[str], test: Examination, note: str) -> bytes:
    """The first test radiograph of each class that has a mask."""
    from evaluation.pictures import heat_maps

    masks = test.truth.masks
    if not len(masks):
        return b""
    _, chosen = np.unique(masks.columns, return_index=True)
    chosen = chosen[:PICTURED]
    rows, columns = masks.rows[chosen], masks.columns[chosen]
    return heat_maps(
        test.data.pixels[rows],
        masks.pixels[chosen],
        test.answers.maps[rows, columns],
        [classes[column] for column in columns],
        note,
    )


def _picture(
    workspace: Workspace, run: TrainedRun, task: str, tracker: Tracker, log: Log
) -> dict[str, dg.MarkdownMetadataValue]:
    """The task's picture of the trained network: small in the metadata, whole in MLflow."""
    from evaluation.result_tables import SIMULATION_NOTE

    test = examine(workspace, run, "trained", "test", log)
    note = SIMULATION_NOTE if workspace.cohort_name() == PHANTOM else ""
    draw, name = (_roc, "roc_curves") if task == "zero_shot_classification" else (_heat_maps, "heat_maps")
    png = draw(list(classes_of(workspace)), test, note)
    if not png:
        return {}
    path = workspace.home_path() / run.output / "pictures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    tracker.log_file(path, "pictures")
    return {name.replace("_", " "): previews.picture(png, name)}
