"""Group `downstream`: the other cohorts, brought up to date, and what every pretrained network makes of them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.evaluated import cells_check, checked, outcomes_metadata
from assets.ingestion import ImagesConfig
from assets.settings import EvaluationSettings
from assets.simulated import ARCHIVES, GROUP, chosen
from assets.workspace import PHANTOM, Workspace, registered_cohorts
from evaluation.dataset import CohortFilms
from evaluation.evaluator import benches
from evaluation.figures import catalogue as drawings
from evaluation.tasks.adapters import settings_of
from store import batches
from store.atomic import write_json

COHORTS = tuple(name for name in registered_cohorts() if name != PHANTOM)
READY = "ready"
STATE = "downstream.json"  # in the folder of a cohort: what came of bringing it up to date


def cohort_asset(name: str, stages: Sequence[Any]) -> dg.AssetsDefinition:
    """The asset `cohort/<name>`, which runs the `stages` of ingestion for it."""
    key = dg.AssetKey(["cohort", name])

    @dg.asset(
        key=key,
        deps=[ARCHIVES],
        group_name=GROUP,
        kinds={"parquet"},
        check_specs=[dg.AssetCheckSpec(READY, asset=key, description="The archive, if there is one, could be read.")],
        description=f"The shards of {name}, up to date with its archive, for the evaluation on it.",
    )
    def cohort(
        context: dg.AssetExecutionContext,
        workspace: Workspace,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        if name in chosen(evaluation, workspace):
            split = evaluation.splits.get(name, "")  # type: ignore[attr-defined]
            state = _brought_up_to_date(context, workspace, name, stages, split)
        elif name == workspace.cohort_name():
            state = {"status": "absent", "note": f"Pretraining was on {name}: evaluated/<method>/... measures it."}
        else:
            state = {"status": "absent", "note": f"{name} is not among the cohorts to evaluate on."}
        write_json(workspace.home_path() / name / STATE, state)
        passed = state["status"] != "failed"
        yield dg.MaterializeResult(
            metadata=state,
            check_results=[
                dg.AssetCheckResult(passed=passed, check_name=READY, asset_key=key, description=state["note"] or None)
            ],
        )

    return cohort


def downstream_asset(method: str, cohort: str) -> dg.AssetsDefinition:
    """The asset `downstream/<method>/<cohort>`."""
    key = dg.AssetKey(["downstream", method, cohort])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey(["pretrained", method]), dg.AssetKey(["cohort", cohort])],
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

        state = cohort_state(workspace, cohort)
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


def cohort_state(workspace: Workspace, cohort: str) -> dict[str, Any]:
    """What came of bringing a downstream cohort up to date: its `status` (ready, absent, failed) and a `note`."""
    path = workspace.home_path() / cohort / STATE
    if not path.exists():
        return {"status": "absent", "note": f"{cohort} was not looked for yet: materialize cohort/{cohort} first."}
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def _brought_up_to_date(
    context: dg.AssetExecutionContext, workspace: Workspace, name: str, stages: Sequence[Any], split: str
) -> dict[str, Any]:
    """Run the ingestion of a cohort, with films of the side that the pretraining had; what came of it."""
    from cohorts.registry import how_to_get

    there = workspace.downstream(name)
    if there is None:
        note = f"{name} has no archive. To use RADALIGN_{name.upper()}_ROOT, {how_to_get(name)}"
        return {"status": "absent", "note": note}
    settings = batches.read_plan(workspace.folder("images")).settings
    images = {field: settings[field] for field in ImagesConfig.model_fields if field in settings}
    context.log.info(f"Bringing the shards of {name} up to date.")
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            stages,
            instance=instance,
            resources={"workspace": there},
            run_config={
                "ops": {"images": {"config": images}, "inventory": {"config": {"split": split}}},
                "loggers": QUIET,
            },
            raise_on_error=False,
        )
    if not result.success:
        return {"status": "failed", "note": _why(result, name)}
    from shards.manifest import Manifest

    manifest = Manifest.load(there.folder("shards"))
    about = {"root": str(there.root()), "simulated": there.shows_simulation(), "data_version": manifest.digest}
    return {"status": READY, "note": "", **about, **manifest.splits}


QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}  # what went wrong is told in one sentence


def _why(result: dg.ExecuteInProcessResult, name: str) -> str:
    """The sentence of the check that failed, or of the first step that did."""
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed:
            told = f" ({check.description})" if check.description else ""
            again = f"RADALIGN_COHORT={name} dagster job execute -j ingest"
            return f"The check {check.check_name} of its {check.asset_key.path[-1]} failed{told}; `{again}` shows it."
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return str(failure.user_failure_data.description)
            cause = failure.error and (failure.error.cause or failure.error)  # its message may quote a report
            return f"{cause.cls_name if cause else 'An error'} in our code, at {event.step_key}; the log has the place."
    return "The ingestion failed; its log says why."
