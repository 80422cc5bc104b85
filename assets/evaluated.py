"""Group `evaluation`: what a network knows about the cohort it was pretrained on, before and after."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets import previews
from assets.settings import EvaluationSettings
from assets.workspace import Workspace
from evaluation.dataset import CohortFilms
from evaluation.evaluator import Outcome, benches
from evaluation.figures import catalogue as drawings
from evaluation.metrics.values import MACRO, ResultValue
from evaluation.predictions import WEIGHTS
from evaluation.tasks.adapters import TASKS
from models.registry import method_names
from tracking.runs import known_runs

GROUP = "evaluation"
CELLS = "no_cell_failed"
SHOWN = ("method", "cohort", "task", "setting", "metric", "value", "low", "high", "n", "seed", "draw", "checkpoint")


def evaluated_asset(method: str, task: str) -> dg.AssetsDefinition:
    """The asset `evaluated/<method>/<task>`."""
    key = dg.AssetKey(["evaluated", method, task])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["pretrained", method]), "shards", "studies", "subsets"],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        check_specs=[cells_check(key)],
        description=f"{TASKS[task].description} {method}, trained and untrained, with 95 % intervals by patient.",
    )
    def evaluated(
        context: dg.AssetExecutionContext,
        workspace: Workspace,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        runs = benches(CohortFilms(workspace), workspace, method, evaluation, context.log)
        settings = TASKS[task].settings(evaluation.fractions, evaluation.draws)  # type: ignore[attr-defined]
        cells = [(task, setting) for setting in settings]
        outcomes = [outcome for bench in runs for outcome in bench.measure(cells)]
        anew = any(not outcome.reused for outcome in outcomes)
        drawn = drawings.attached(runs[0].networks, [task], runs[0].tracker, anew) if _scored(outcomes) else {}
        yield dg.MaterializeResult(
            metadata={**_means(outcomes), **outcomes_metadata(outcomes), **drawn},
            check_results=[checked(key, outcomes)],
        )

    return evaluated


def results_asset(methods: Sequence[str], tasks: Sequence[str], cohorts: Sequence[str]) -> dg.AssetsDefinition:
    """The asset `results`, behind everything that is measured."""
    own = [dg.AssetKey(["evaluated", method, task]) for method in methods for task in tasks]
    elsewhere = [dg.AssetKey(["downstream", method, cohort]) for method in methods for cohort in cohorts]

    @dg.asset(name="results", group_name=GROUP, kinds={"parquet"}, deps=[*own, *elsewhere])
    def results(workspace: Workspace) -> dg.MaterializeResult[Any]:
        """Every number measured so far, of all methods and cohorts, with what produced it."""
        from evaluation.results.store import MEASURED, read_results
        from evaluation.results.text_tables import as_markdown

        table = read_results(workspace.home_path(), {"source": MEASURED})
        macro = table.filter(pc.equal(table["class"], MACRO))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "methods": previews.counts(table, "cohort", "method", "task"),
                "numbers": previews.head(macro, SHOWN, 100),
                "tables": dg.MetadataValue.md(as_markdown(latest_results(workspace))),
            }
        )

    return results


def latest_results(workspace: Workspace, every_cohort: bool = False) -> pa.Table:
    """The numbers on this cohort, or on every one, of the latest run on this one of each method, variant and seed."""
    from evaluation.results.store import read_results

    where = {} if every_cohort else {"cohort": workspace.cohort_name()}
    table = read_results(workspace.home_path(), where)
    runs = [run for method in method_names() for run in known_runs(workspace, method)]
    digests = [digest for run in runs for digest in (run.checkpoint_digest, run.untrained_digest)]
    latest = pc.is_in(table["checkpoint"], value_set=pa.array(digests, pa.string()))
    return table.filter(pc.or_(latest, pc.equal(table["method"], "supervised")))


def cells_check(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that `checked` answers."""
    return dg.AssetCheckSpec(
        CELLS,
        asset=key,
        description="Every measurement was made, or has a reason that lies in the method or the cohort.",
    )


def checked(key: dg.AssetKey, outcomes: Sequence[Outcome]) -> dg.AssetCheckResult:
    """Which cells failed, and why. It stops nothing: what failed stands in the tables as failed."""
    failed = [outcome for outcome in outcomes if outcome.failed]
    rows = [(outcome.run, outcome.task, outcome.setting.name, outcome.weights, outcome.note) for outcome in failed]
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=CELLS,
        asset_key=key,
        metadata={
            "failed": len(failed),
            "cells": len(outcomes),
            "reasons": previews.markdown_table(("run", "task", "setting", "weights", "why"), rows),
        },
    )


def outcomes_metadata(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Every cell as a row, and of the means and classes what was measured of both networks."""
    pairs: dict[tuple[str, ...], dict[str, str]] = {}
    for outcome in outcomes:
        place = (outcome.run, outcome.task, outcome.setting.name, str(outcome.setting.draw))
        if not outcome.values:
            pairs.setdefault((*place, TASKS[outcome.task].leading, MACRO, "0"), {})[outcome.weights] = outcome.note
        for value in outcome.values:
            row = pairs.setdefault((*place, value.metric, value.class_name, str(value.n)), {})
            row[outcome.weights] = interval_text(value)
    rows = [(*place, *(row.get(weights, "") for weights in WEIGHTS)) for place, row in pairs.items()]
    reused = sum(outcome.reused for outcome in outcomes)
    return {
        "measured": len(outcomes) - reused,
        "found in results": reused,
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "numbers": previews.markdown_table(("run", "task", "setting", "draw", "metric", "class", "n", *WEIGHTS), rows),
    }


def interval_text(value: ResultValue) -> str:
    """A number with its interval."""
    if value.value is None or value.low is None:
        return "-" if value.value is None else f"{value.value:.3f}"
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _scored(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.values for outcome in outcomes if outcome.weights == "trained")


def _means(outcomes: Sequence[Outcome]) -> Mapping[str, float]:
    """The means as numbers, which Dagster plots over the materializations."""
    return {
        " ".join(
            part
            for part in (
                value.metric,
                outcome.setting.name if outcome.setting.fraction is not None else "",
                "" if outcome.weights == "trained" else outcome.weights,
            )
            if part
        ): value.value
        for outcome in outcomes
        for value in outcome.values
        if value.class_name == MACRO and value.value is not None and not outcome.setting.draw
    }
