"""Group `downstream`: `dataset/<name>`, the whole ingestion of one downstream dataset, and the simulated archives.

A dataset that fails stops neither the run nor the others: what went wrong is its state and its check `ready`.
"""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import dagster as dg

from assets.batched import collect_batches, compute_batch, plan_outputs
from assets.checks import as_check_result
from assets.settings import EvaluationSettings
from assets.workspace import PLAIN_ERRORS, WorkspaceResource, one_sentence
from ingestion import checks, stage
from ingestion.checks import CheckResult
from ingestion.exports import KnowledgeSettings, write_knowledge
from ingestion.inventory import update_inventory
from ingestion.pipeline import (
    ABSENT,
    FAILED,
    IMAGES,
    READY,
    REPORT_LABELS,
    REPORTS,
    SHARDS,
    TRIPLETS,
    choose_datasets,
    describe_absent,
    describe_failed,
    describe_ready,
    downstream_settings,
    explain_check,
    explain_fault,
    write_state,
)
from ingestion.simulation import simulate_missing
from ingestion.stage import Stage
from ingestion.subsets import SubsetsSettings, write_subsets, write_usable
from ingestion.workspace import Workspace

GROUP = "downstream"
ARCHIVES = "simulated_archives"
CHECKS = {
    READY: "The archive, if there is one, could be read and its data passes the checks that would stop a training.",
    **checks.STUDIES_CHECKS,
    **checks.SHARDS_CHECKS,
}
GOING = "going"  # status of a dataset whose ingestion has not ended yet
Update = dict[str, Any]  # what one op hands to the next: dataset, status, note, counts by stage, checks


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
        names = _chosen(workspace.plain(), evaluation)
        studies = evaluation.simulated_studies  # type: ignore[attr-defined]
        simulated = simulate_missing(workspace.plain(), names, studies, context.log.info)
    return dg.MaterializeResult(metadata={"computed": len(simulated), "simulated": ", ".join(simulated) or "nothing"})


def dataset_asset(name: str) -> dg.AssetsDefinition:
    """The asset `dataset/<name>`."""
    key = dg.AssetKey(["dataset", name])
    specs = [dg.AssetCheckSpec(check, asset=key, description=text) for check, text in CHECKS.items()]
    inventory = _inventory_op(name)

    def graph(**upstream: Any) -> Any:
        found = inventory(**upstream)
        images = _run(IMAGES, [found])
        reports = _run(REPORTS, [found])
        triplets = _run(TRIPLETS, [reports])
        labels = _run(REPORT_LABELS, [triplets])
        usable = dataset_usable([images, reports])
        outputs = dataset_checks([_run(SHARDS, [usable, triplets]), labels])
        answers = {spec.get_python_identifier(): getattr(outputs, spec.name) for spec in specs}
        return {"result": outputs.result, **answers}

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


def _chosen(workspace: Workspace, evaluation: Any) -> list[str]:
    return choose_datasets(workspace, evaluation.cohorts, evaluation.splits)


def _inventory_op(name: str) -> dg.OpDefinition:
    @dg.op(
        name=f"inventory_{name}",
        ins={ARCHIVES: dg.In(dg.Nothing)},
        out=dg.Out(dict),
        description=f"List the archive of {name}, if it is chosen and there.",
    )
    def inventory(
        context: dg.OpExecutionContext,
        workspace: WorkspaceResource,
        evaluation: EvaluationSettings,  # type: ignore[valid-type]
    ) -> Update:
        pretraining = workspace.plain()
        split = evaluation.splits.get(name, "")  # type: ignore[attr-defined]
        update: Update = {"dataset": name, "split": split, "status": GOING, "note": "", "counts": {}, "checks": []}
        with one_sentence():
            chosen = _chosen(pretraining, evaluation)
        if name == pretraining.cohort_name():
            note = f"Pretraining was on {name}: evaluated/<method> evaluates it."
            return update | {"status": ABSENT, "note": note}
        if name not in chosen:
            return update | {"status": ABSENT, "note": f"{name} is not among the cohorts to evaluate on."}
        with _caught(context, update, "inventory"):
            there = pretraining.downstream(name)
            if there is None:
                return update | describe_absent(name)
            settings = downstream_settings(pretraining, split)
            found = update_inventory(there, settings.inventory, context.log.info)
            update["counts"]["inventory"] = {
                "rows": found.scan.studies.num_rows,
                "rejects": found.scan.rejects.num_rows,
            }
        return update

    return inventory


def _run(one: Stage, updates: Sequence[Any]) -> Any:
    """The three ops of a stage, after those that give `updates`."""
    plan, compute, collect = _OPS[one.name]
    planned, whole = plan(list(updates))
    return collect(planned.map(compute).collect(), whole)


def _stage_ops(one: Stage) -> tuple[dg.OpDefinition, dg.OpDefinition, dg.OpDefinition]:
    """Plan, batch and collect of a stage, the same for all datasets."""

    @dg.op(
        name=f"plan_dataset_{one.name}",
        out={"batch": dg.DynamicOut(dict), "plan": dg.Out(dict)},
        description=f"Decide which batches of {one.name} are needed.",
    )
    def plan(
        context: dg.OpExecutionContext, workspace: WorkspaceResource, updates: list[Update]
    ) -> Iterator[dg.DynamicOutput[dict[str, Any]] | dg.Output[dict[str, Any]]]:
        update = _merge(updates)
        if update["status"] == GOING:
            with _caught(context, update, one.name):
                there = _workspace_of(workspace, update)
                settings = downstream_settings(workspace.plain()).images if one is IMAGES else one.settings()
                planned = stage.plan(one, there, settings)
        if update["status"] == GOING:
            yield from plan_outputs(context, one, there, planned, update=update)
        else:
            yield dg.Output({"update": update}, output_name="plan")

    @dg.op(name=f"dataset_{one.name}_batch", description=f"One batch of {one.name}.")
    def compute(context: dg.OpExecutionContext, workspace: WorkspaceResource, work: dict[str, Any]) -> dict[str, Any]:
        update = work["update"]
        with _caught(context, update, one.name):
            return compute_batch(context, one, _workspace_of(workspace, update), work)
        return {"failed": update}

    @dg.op(
        name=f"collect_dataset_{one.name}",
        description=f"Make the complete set of batches of {one.name} the one that counts.",
    )
    def collect(
        context: dg.OpExecutionContext,
        workspace: WorkspaceResource,
        outcomes: list[dict[str, Any]],
        plan: dict[str, Any],
    ) -> Update:
        update: Update = plan["update"]
        for outcome in outcomes:
            if "failed" in outcome:
                return {**outcome["failed"]}
        if update["status"] == GOING:
            with _caught(context, update, one.name):
                _, counts = collect_batches(one, _workspace_of(workspace, update), outcomes, plan)
                update["counts"][one.name] = counts
        return update

    return plan, compute, collect


_OPS = {one.name: _stage_ops(one) for one in (IMAGES, REPORTS, TRIPLETS, REPORT_LABELS, SHARDS)}


@dg.op(description="The tables of what can be used and what cannot, the label fractions, and the checks of the tables.")
def dataset_usable(context: dg.OpExecutionContext, workspace: WorkspaceResource, updates: list[Update]) -> Update:
    """Write studies, rejects, subsets and the knowledge base; a failed check ends the ingestion."""
    update = _merge(updates)
    if update["status"] == GOING:
        with _caught(context, update, "studies"):
            there = _workspace_of(workspace, update)
            write_usable(there)
            write_subsets(there, SubsetsSettings())
            write_knowledge(there, KnowledgeSettings())
            _note_checks(update, list(checks.check_studies(there)))
    return update


@dg.op(
    out={"result": dg.Out(dg.Nothing), **{name: dg.Out(dg.Nothing) for name in CHECKS}},
    description="The checks of the shards, and what came of the ingestion.",
)
def dataset_checks(
    context: dg.OpExecutionContext, workspace: WorkspaceResource, updates: list[Update]
) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
    """Check the shards, keep the state of the dataset, and report all of its checks."""
    update = _merge(updates)
    if update["status"] == GOING:
        there = _workspace_of(workspace, update)
        with _caught(context, update, "shards"):
            _note_checks(update, list(checks.check_shards(there)))
            if update["status"] == GOING:
                update |= describe_ready(there)
    counts, results = update.pop("counts"), {entry["name"]: entry for entry in update.pop("checks")}
    name, _ = update.pop("dataset"), update.pop("split")
    write_state(workspace.plain(), name, update)
    rows = {f"{one}: {what}": value for one, found in counts.items() for what, value in found.items() if what in SHOWN}
    yield dg.Output(None, output_name="result", metadata={**update, **rows})
    key = dg.AssetKey(["dataset", name])
    failed = update["status"] == FAILED
    yield dg.AssetCheckResult(passed=not failed, check_name=READY, asset_key=key, description=update["note"] or None)
    for check in CHECKS:
        if check in results:
            result = CheckResult(**results[check])
            yield as_check_result(result, key, dict(result.figures))
        elif check != READY:
            yield dg.AssetCheckResult(
                passed=not failed,
                check_name=check,
                asset_key=key,
                severity=dg.AssetCheckSeverity.WARN,
                description="There was nothing to check.",
            )


SHOWN = ("computed", "reused", "dagster/row_count", "rows", "rejects")


def _merge(updates: Sequence[Update]) -> Update:
    """What several ops say of a dataset: the first failure, and all counts and checks."""
    first = next((update for update in updates if update["status"] != GOING), updates[0])
    found = {entry["name"]: entry for update in updates for entry in update["checks"]}
    counts = {name: value for update in updates for name, value in update["counts"].items()}
    return {**first, "counts": counts, "checks": list(found.values())}


def _workspace_of(workspace: WorkspaceResource, update: Update) -> Workspace:
    """The workspace of a dataset whose ingestion goes on; of another nothing is read."""
    there = workspace.plain().downstream(update["dataset"]) if update["status"] == GOING else None
    return there or workspace.plain()


def _note_checks(update: Update, results: Sequence[CheckResult]) -> None:
    """Keep the results; one that blocks is why the ingestion failed."""
    update["checks"] += [asdict(result) for result in results]
    for result in results:
        if result.blocks and update["status"] == GOING:
            update |= describe_failed(explain_check(result, update["dataset"]))


@contextmanager
def _caught(context: dg.OpExecutionContext, update: Update, step: str) -> Iterator[None]:
    """Turn an error into the state of the dataset. The log names the lines of ours, not what they worked on."""
    try:
        yield
    except PLAIN_ERRORS as error:
        update |= describe_failed(str(error))
    except Exception as error:
        update |= describe_failed(explain_fault(error, step))
        context.log.error("".join(traceback.format_tb(error.__traceback__)))
