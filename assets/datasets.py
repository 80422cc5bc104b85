"""Group `downstream`: `dataset/<name>`, the whole ingestion of one downstream dataset, and the simulated archives.

A dataset that fails stops neither the run nor the others: what went wrong is its state and its check `ready`.
"""

import inspect
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg

from assets.batched import group_batches
from assets.ingestion import as_check_result
from assets.settings.evaluation import EvaluationSettings, chosen_evaluation
from assets.workspace import WorkspaceResource, identify, one_sentence
from evaluation.metrics.units import VIEWS
from ingestion import checks
from ingestion.checks import CheckResult
from ingestion.inventory import update_inventory
from ingestion.pipeline import (
    FAILED,
    READY,
    choose_datasets,
    describe_absent,
    describe_failed,
    describe_plan,
    downstream_settings,
    explain_absent,
    explain_check,
    explain_fault,
    finish_stages,
    keep_ready,
    list_missing,
    plan_stages,
    run_stages,
    write_state,
)
from ingestion.pooling.names import members_of
from ingestion.simulation import simulate_missing
from ingestion.versions import pin, pinned
from ingestion.workspace import Workspace
from shards.pool import has_shards
from store.batches import Plan
from store.digests import fingerprint
from store.errors import sentence_of

GROUP = "downstream"
ARCHIVES = "simulated_archives"
CHECKS = {
    READY: "The archive, if there is one, could be read and its data passes the checks that would stop a training.",
    **checks.STUDIES_CHECKS,
    **checks.SHARDS_CHECKS,
}
SHOWN = ("computed", "reused", "rows", "rejects")  # of the counts of a stage
Update = dict[str, Any]  # what the ops hand on: dataset, split, views, and the state once it is known


@dg.asset(name=ARCHIVES, group_name=GROUP, kinds={"file"})
def simulated_archives(
    context: dg.AssetExecutionContext,
    workspace: WorkspaceResource,
    evaluation: EvaluationSettings,  # type: ignore[valid-type]
) -> dg.MaterializeResult[Any]:
    """Beside a simulated pretraining: every downstream dataset that has no archive, simulated in its published layout.

    Each says in a file of its own that it is a simulation, and so do the rows of `results`.
    """
    # First of all assets: a name or an address that is none stops the run here.
    with one_sentence():
        amount = chosen_evaluation(evaluation, workspace.plain().preset_name(), context.run.tags).amount
        names = choose_datasets(workspace.plain(), amount.cohorts, amount.splits)
        _pretraining(context, workspace)  # images of all datasets become as large as those of this version
        simulated = simulate_missing(workspace.plain(), names, amount.simulated_studies, context.log.info)
    whose = identify(workspace.plain())
    return dg.MaterializeResult(
        metadata={"computed": len(simulated), "simulated": ", ".join(simulated) or "nothing", **whose}
    )


def dataset_asset(name: str) -> dg.AssetsDefinition:
    """The asset `dataset/<name>`: the inventory, an op per batch that has to be computed, and the tables and checks."""
    key = dg.AssetKey(["dataset", name])
    specs = [dg.AssetCheckSpec(check, asset=key, description=text) for check, text in CHECKS.items()]
    inventory = _inventory_op(name)

    def graph(**upstream: Any) -> Any:
        batch, update = inventory(**upstream)
        outputs = dataset_tables(batch.map(dataset_batch).collect(), update)
        verdicts = {spec.get_python_identifier(): getattr(outputs, spec.name) for spec in specs}
        return {"result": outputs.result, **verdicts}

    parameter = inspect.Parameter(ARCHIVES, inspect.Parameter.KEYWORD_ONLY)
    graph.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    return dg.graph_asset(
        key=key,
        ins={ARCHIVES: dg.AssetIn(key=ARCHIVES, dagster_type=dg.Nothing)},
        group_name=GROUP,
        kinds={"parquet"},
        check_specs=specs,
        description=f"The shards of {name}, up to date with its archive, for the evaluation on it.",
    )(graph)


def _inventory_op(name: str) -> dg.OpDefinition:
    @dg.op(
        name=f"inventory_{name}",
        ins={ARCHIVES: dg.In(dg.Nothing)},
        out={"batch": dg.DynamicOut(dict), "update": dg.Out(dict)},
        description=f"List the archive of {name}, if it is chosen and there, and decide which batches are needed.",
    )
    def inventory(
        context: dg.OpExecutionContext,
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Iterator[dg.DynamicOutput[dict[str, Any]] | dg.Output[Update]]:
        pretraining = _pretraining(context, workspace)
        with one_sentence():
            amount = chosen_evaluation(evaluation, pretraining.preset_name(), context.run.tags).amount
            chosen = choose_datasets(pretraining, amount.cohorts, amount.splits)
        split = amount.splits.get(name, "")
        views = list(VIEWS[amount.view])
        update: Update = {"dataset": name, "split": split, "views": views, "state": None}
        todo: dict[str, dict[str, Plan]] = {}
        with _caught(context, update, "inventory"):
            if name in members_of(pretraining.cohort_name()):
                update["state"] = describe_absent(f"Pretraining was on {name}: evaluated/<method> evaluates it.")
            elif name not in chosen:
                update["state"] = describe_absent(f"{name} is not among the cohorts to evaluate on.")
            elif (there := pretraining.downstream(name)) is None:
                update["state"] = describe_absent(explain_absent(name))
            else:
                settings = downstream_settings(pretraining, there, split, views)
                update_inventory(there, settings.inventory, context.log.info)
                plans = plan_stages(there, settings)
                todo = list_missing(there, plans, context.log.warning)
                context.log.info(f"{name}: {describe_plan(len(todo), plans)}")
        for _, group in group_batches(list(todo)):
            work = {**update, "batches": {batch: todo[batch] for batch in group}}
            yield dg.DynamicOutput(work, mapping_key=group[0], output_name="batch")
        yield dg.Output(update, output_name="update")

    return inventory


@dg.op(description="Some batches of a dataset, from their files to their shards.")
def dataset_batch(context: dg.OpExecutionContext, workspace: WorkspaceResource, work: Update) -> dict[str, Any]:
    """Compute what the stages lack of the batches; returns how many each computed, and the state of the dataset where
    that failed."""
    computed: Counter[str] = Counter()
    for name, plans in work["batches"].items():
        with _caught(context, work, f"batch {name}"):
            computed.update(run_stages(_workspace_of(workspace, work), plans, context.log.info))
        if work["state"] is not None:
            break
    return {"computed": computed, "state": work["state"]}


@dg.op(
    out={"result": dg.Out(dg.Nothing), **{name: dg.Out(dg.Nothing) for name in CHECKS}},
    description="The tables of a dataset, its checks, and what came of the ingestion.",
)
def dataset_tables(
    context: dg.OpExecutionContext, workspace: WorkspaceResource, outcomes: list[dict[str, Any]], update: Update
) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
    """Make the batches count, write and check the tables, keep the state of the dataset, and report all checks."""
    name = update["dataset"]
    counts: dict[str, dict[str, Any]] = {}
    results: list[CheckResult] = []
    update["state"] = next((outcome["state"] for outcome in outcomes if outcome["state"]), update["state"])
    with _caught(context, update, "the tables"):
        if update["state"] is None:
            there = _workspace_of(workspace, update)
            settings = downstream_settings(_pretraining(context, workspace), there, update["split"], update["views"])
            computed: Counter[str] = sum((outcome["computed"] for outcome in outcomes), Counter())
            plans = plan_stages(there, settings)
            counts, results = finish_stages(there, plans, computed, settings, context.log.info)
            notes = [explain_check(result, name) for result in results if result.blocks]
            update["state"] = describe_failed(notes[0]) if notes else keep_ready(there)
    state = write_state(workspace.plain(), name, update["state"])
    pin(replace(workspace.plain(), cohort=name), context.run.run_id, state)
    shown = {f"{one}: {what}": value for one, found in counts.items() for what, value in found.items() if what in SHOWN}
    whose = identify(replace(workspace.plain(), cohort=name, preset=workspace.plain().preset_name()))
    version = dg.DataVersion(fingerprint(state))
    yield dg.Output(None, output_name="result", metadata={**state, **shown, **whose}, data_version=version)
    yield from _check_results(dg.AssetKey(["dataset", name]), state, results, whose)


def _check_results(
    key: dg.AssetKey, state: dict[str, Any], results: Sequence[CheckResult], whose: dict[str, Any]
) -> Iterator[dg.AssetCheckResult]:
    """One for each of CHECKS. What could not be checked of a dataset that failed counts as not passed."""
    passed, found = state["status"] != FAILED, {result.name: result for result in results}
    yield dg.AssetCheckResult(
        passed=passed, check_name=READY, asset_key=key, description=state["note"] or None, metadata=whose
    )
    for check in CHECKS:
        if check in found:
            yield as_check_result(found[check], key, {**found[check].figures, **whose})
        elif check != READY:
            yield dg.AssetCheckResult(
                passed=passed,
                check_name=check,
                asset_key=key,
                severity=dg.AssetCheckSeverity.WARN,
                description="There was nothing to check.",
                metadata=whose,
            )


def _pretraining(context: dg.OpExecutionContext | dg.AssetExecutionContext, workspace: WorkspaceResource) -> Workspace:
    """The dataset of the pretraining as this run sees it; without shards there is nothing to keep yet."""
    place = workspace.plain()
    there = has_shards(place.folder("shards"))
    return pinned(place, context.run.run_id, context.log.info) if there else place


def _workspace_of(workspace: WorkspaceResource, update: Update) -> Workspace:
    """The workspace of a dataset whose archive is there."""
    there = workspace.plain().downstream(update["dataset"])
    assert there is not None
    return there


@contextmanager
def _caught(context: dg.OpExecutionContext, update: Update, step: str) -> Iterator[None]:
    """Turn an error into the state of the dataset. The log names the lines of ours, not what they worked on."""
    try:
        yield
    except Exception as error:
        sentence = sentence_of(error)
        update["state"] = describe_failed(sentence or explain_fault(error, step))
        if sentence is None:
            context.log.error("".join(traceback.format_tb(error.__traceback__)))
