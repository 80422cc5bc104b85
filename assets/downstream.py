"""Group `downstream`: the other cohorts, brought up to date, and what every pretrained network makes of them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.evaluated import cells_check, checked, outcomes_metadata
from assets.settings import EvaluationSettings
from assets.datasets import GROUP
from assets.workspace import Workspace
from evaluation.dataset import CohortFilms
from evaluation.evaluator import benches
from evaluation.figures import catalogue as drawings
from evaluation.tasks.adapters import settings_of
from ingestion.pipeline import dataset_state



def downstream_asset(method: str, cohort: str) -> dg.AssetsDefinition:
    """The asset `downstream/<method>/<cohort>`."""
    key = dg.AssetKey(["downstream", method, cohort])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["pretrained", method]), dg.AssetKey(["dataset", cohort])],
        group_name=GROUP,
        kinds={"pytorch", "parquet"},
        check_specs=[cells_check(key)],
        description=f"What {method}, trained and untrained, is worth on {cohort}: every task of its protocol.",
    )
    def downstream(
        context: dg.AssetExecutionContext,
        workspace: Workspace,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from evaluation.protocol import DOWNSTREAM

        state = dataset_state(workspace.plain(), cohort)
        there = workspace.downstream(cohort)
        if state["status"] == "absent" or there is None:
            yield dg.MaterializeResult(metadata={"note": state["note"]}, check_results=[checked(key, [])])
            return
        protocol = DOWNSTREAM[cohort]
        runs = benches(CohortFilms(there, protocol), workspace, method, evaluation, context.log, prefix=f"{cohort}/")
        cells = settings_of(protocol, evaluation.fractions, evaluation.draws)  # type: ignore[attr-defined]
        failed = state["status"] == "failed"
        outcomes = [
            outcome
            for bench in runs
            for outcome in (bench.fail(cells, state["note"]) if failed else bench.measure(cells))
        ]
        anew = any(not outcome.reused for outcome in outcomes)
        drawn = {} if failed else drawings.attached(runs[0].networks, protocol.tasks, runs[0].tracker, anew)
        yield dg.MaterializeResult(
            metadata={**outcomes_metadata(outcomes), **drawn}, check_results=[checked(key, outcomes)]
        )

    return downstream
