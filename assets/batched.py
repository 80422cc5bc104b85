"""Turns a stage of ingestion into a Dagster asset: plan, then one mapped op per batch, then collect.

The batches of one run are dynamic outputs, so whichever executor the run has spreads them.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from assets.launchpad import launchpad_config, settings_of
from assets.workspace import WorkspaceResource, one_sentence
from ingestion import stage
from ingestion.pipeline import describe_plan
from ingestion.stage import Stage
from ingestion.workspace import Workspace
from store.batches import Batch, Plan

Metadata = dict[str, Any]
Preview = Callable[[Workspace, Plan], Metadata]
KINDS = {"python", "parquet"}


def batched_asset(one: Stage, group: str, description: str, preview: Preview) -> dg.AssetsDefinition:
    """The asset of a stage; `preview` makes the metadata that only this stage has."""
    config_class = launchpad_config(one.settings)
    plan, compute, collect = _plan_op(one, config_class), _batch_op(one), _collect_op(one, preview)

    @dg.config_mapping
    def settings(config: config_class) -> Mapping[str, Any]:  # type: ignore[valid-type]
        return {f"plan_{one.name}": {"config": config.model_dump()}}  # type: ignore[attr-defined]

    def graph(**upstream: Any) -> Any:
        planned, whole = plan(**upstream)
        return collect(planned.map(compute).collect(), whole)

    upstream = (*one.upstream, *one.after)
    # Dagster reads the names of the upstream assets from the signature.
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in upstream]
    graph.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return dg.graph_asset(
        name=one.name,
        description=description,
        group_name=group,
        kinds=KINDS,
        ins={name: dg.AssetIn(key=name, dagster_type=dg.Nothing) for name in upstream},
        config=settings,
    )(graph)


def _plan_op(one: Stage, config_class: type[dg.Config]) -> dg.OpDefinition:
    @dg.op(
        name=f"plan_{one.name}",
        ins={name: dg.In(dg.Nothing) for name in (*one.upstream, *one.after)},
        out={"batch": dg.DynamicOut(dict), "plan": dg.Out(dict)},
        description=f"Decide which batches of {one.name} are needed.",
    )
    def plan(
        context: dg.OpExecutionContext,
        config: config_class,  # type: ignore[valid-type]
        workspace: WorkspaceResource,
    ) -> Iterator[dg.DynamicOutput[dict[str, Any]] | dg.Output[dict[str, Any]]]:
        with one_sentence():
            planned = stage.plan(one, workspace.plain(), settings_of(config, one.settings))
        yield from plan_outputs(context, one, workspace.plain(), planned)

    return plan


def plan_outputs(
    context: dg.OpExecutionContext, one: Stage, workspace: Workspace, planned: Plan, **about: Any
) -> Iterator[dg.DynamicOutput[dict[str, Any]] | dg.Output[dict[str, Any]]]:
    """The batches to compute, and the plan as a whole, with what else is known `about` it."""
    todo = stage.missing(one, workspace, planned)
    started = time.time()
    context.log.info(describe_plan(one, len(todo), len(planned.batches)))
    for position, batch in enumerate(todo):
        progress = {"position": position, "of": len(todo), "started": started}
        work = {"batch": asdict(batch), "settings": planned.settings, "progress": progress, **about}
        yield dg.DynamicOutput(work, mapping_key=batch.name, output_name="batch")
    yield dg.Output({**asdict(planned), "started": started, **about}, output_name="plan")


def compute_batch(
    context: dg.OpExecutionContext, one: Stage, workspace: Workspace, work: Mapping[str, Any]
) -> dict[str, Any]:
    """Compute one of the batches of `plan_outputs`."""
    outcome = stage.run(one, workspace, Batch(**work["batch"]), work["settings"])
    context.log.info(stage.describe_outcome(one.name, outcome, **work["progress"]))
    return asdict(outcome)


def collect_batches(
    one: Stage, workspace: Workspace, outcomes: list[dict[str, Any]], plan: Mapping[str, Any]
) -> tuple[Plan, Metadata]:
    """Make the plan of `plan_outputs` the one that counts; returns it with its counts."""
    planned = Plan(tuple(Batch(**batch) for batch in plan["batches"]), plan["settings"])
    counts = stage.collect(one, workspace, planned, sum(outcome["computed"] for outcome in outcomes))
    counts["dagster/row_count"] = counts.pop("rows")  # which Dagster plots over the materializations
    return planned, {**counts, "seconds": time.time() - plan["started"]}


def _batch_op(one: Stage) -> dg.OpDefinition:
    @dg.op(name=f"{one.name}_batch", description=f"One batch of {one.name}.")
    def compute(context: dg.OpExecutionContext, workspace: WorkspaceResource, work: dict[str, Any]) -> dict[str, Any]:
        with one_sentence():
            return compute_batch(context, one, workspace.plain(), work)

    return compute


def _collect_op(one: Stage, preview: Preview) -> dg.OpDefinition:
    @dg.op(
        name=f"collect_{one.name}",
        out=dg.Out(dg.Nothing),
        description=f"Make the complete set of batches of {one.name} the one that counts.",
    )
    def collect(workspace: WorkspaceResource, outcomes: list[dict[str, Any]], plan: dict[str, Any]) -> dg.Output[None]:
        there = workspace.plain()
        with one_sentence():
            planned, metadata = collect_batches(one, there, outcomes, plan)
        return dg.Output(None, metadata=metadata | preview(there, planned))

    return collect
