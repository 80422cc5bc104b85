"""Group `evaluation`: what a network knows, before and after pretraining."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets import previews, tracking
from assets.examination import WEIGHTS, Network
from assets.tasks import TASKS
from assets.tracking import Tracker
from assets.training_runs import is_trained, trained_run
from assets.workspace import PHANTOM, Workspace
from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.values import MACRO, ResultValue
from models.registry import method_names

GROUP = "evaluation"
NOTHING = "This cohort's test split has nothing to score the method on."


def evaluated_asset(method: str, task: str) -> dg.AssetsDefinition:
    """The asset `evaluated/<method>/<task>`."""

    @dg.asset(
        key=["evaluated", method, task],
        deps=[dg.AssetKey(["pretrained", method]), *TASKS[task].needs],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        description=f"{TASKS[task].description} {method}, trained and untrained, with 95 % intervals by patient.",
    )
    def evaluated(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
        run = trained_run(workspace, method)
        networks = {weights: Network(workspace, run, weights, context.log.info) for weights in WEIGHTS}
        try:
            values = {weights: TASKS[task].score(network) for weights, network in networks.items()}
        except NotAvailableError as error:
            return dg.MaterializeResult(metadata={"note": f"Not available: {error}"})
        except EvaluationError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        if not values["trained"]:
            return dg.MaterializeResult(metadata={"note": NOTHING})
        tracker = tracking.attach(workspace.home_path(), run.mlflow_run)
        for weights, numbers in values.items():
            _write(networks[weights], task, numbers)
            tracker.log_summary(_summary(task, weights, numbers))
        return dg.MaterializeResult(metadata={**_metadata(values), **_picture(networks["trained"], task, tracker)})

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
    from evaluation.results import MEASURED, read_results

    table = read_results(workspace.home_path(), {"source": MEASURED})
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


def latest_results(workspace: Workspace, every_cohort: bool = False) -> pa.Table:
    """The numbers on this cohort, or on every one, of each method's latest run on this one."""
    from evaluation.results import read_results

    where = {} if every_cohort else {"cohort": workspace.cohort_name()}
    table = read_results(workspace.home_path(), where)
    runs = [trained_run(workspace, method) for method in method_names() if is_trained(workspace, method)]
    digests = [digest for run in runs for digest in (run.checkpoint_digest, run.untrained_digest)]
    latest = pc.is_in(table["checkpoint"], value_set=pa.array(digests, pa.string()))
    return table.filter(pc.or_(latest, pc.equal(table["method"], "supervised")))


def _write(network: Network, task: str, values: Sequence[ResultValue]) -> None:
    from evaluation.results import ResultKey, write_results

    run, trained = network.run, network.weights == "trained"
    key = ResultKey(
        method=run.method if trained else f"untrained:{run.method}",
        checkpoint=run.checkpoint_digest if trained else run.untrained_digest,
        mlflow_run=run.mlflow_run,
        cohort=network.workspace.cohort_name(),
        data_version=run.data_version,
        seed=run.seed,
    )
    write_results(network.workspace.home_path(), task, key, values, TASKS[task].setting)


def _summary(task: str, weights: str, values: Sequence[ResultValue]) -> dict[str, float]:
    prefix = f"{task}/" if weights == "trained" else f"{task}/untrained/"
    return {f"{prefix}{value.metric}/{value.class_name}": value.value for value in values if value.value is not None}


def _metadata(values: Mapping[str, Sequence[ResultValue]]) -> dict[str, Any]:
    """The means as numbers, which Dagster plots over the materializations, and the classes as a table."""
    means = {
        f"{value.metric}{'' if weights == 'trained' else ' untrained'}": value.value
        for weights in WEIGHTS
        for value in values[weights]
        if value.class_name == MACRO and value.value is not None
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


def _picture(network: Network, task: str, tracker: Tracker) -> dict[str, dg.MarkdownMetadataValue]:
    """The task's picture of the trained network: small in the metadata, whole in MLflow."""
    from evaluation.result_tables import SIMULATION_NOTE

    png = TASKS[task].draw(network, SIMULATION_NOTE if network.workspace.cohort_name() == PHANTOM else "")
    if not png:
        return {}
    name = TASKS[task].picture
    path = network.workspace.home_path() / network.run.output / "pictures" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
    tracker.log_file(path, "pictures")
    return {name.replace("_", " "): previews.picture(png, name)}
