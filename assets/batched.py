"""Turns a stage into a Dagster asset: plan, then one mapped op per batch, then collect.

The batches of one run are dynamic outputs, so whichever executor the run has spreads them.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.workspace import Workspace, one_sentence
from store import batches
from store.batches import Batch, Computed, Plan
from store.code import code_version

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What the computation of one batch gets: upstream files, settings and the workspace."""

    workspace: Workspace
    inputs: Mapping[str, Path]
    settings: Mapping[str, Any]


class NoConfig(dg.Config):
    """A stage with nothing to choose."""


@dataclass(frozen=True)
class Stage:
    """One stage of ingestion: an asset, a folder of the same name, and how a batch of it is made."""

    name: str
    group: str
    description: str
    upstream: tuple[str, ...]  # assets with batches of the same names
    code: tuple[str, ...]  # files and folders whose change recomputes every batch
    compute: Callable[[Work], Computed]
    preview: Callable[[Workspace, Plan], Metadata]
    config: type[dg.Config] = NoConfig
    aspect: str = ""  # of the upstream batches, where that alone is read: other changes of theirs cost nothing
    # what the run's config or the stages upstream imply: it is part of the fingerprint of every batch
    settings: Callable[[Workspace, Mapping[str, Any]], Mapping[str, Any]] | None = None
    write: Callable[[pa.Table, Path], None] | None = None
    finish: Callable[[Workspace, Plan], Metadata] | None = None  # before the plan counts


def batched_asset(stage: Stage) -> dg.AssetsDefinition:
    """The asset of a stage."""
    plan, compute, collect = _plan_op(stage), _batch_op(stage), _collect_op(stage)

    @dg.config_mapping
    def settings(config: stage.config) -> Mapping[str, Any]:  # type: ignore[name-defined]
        return {f"plan_{stage.name}": {"config": config.model_dump()}}

    def graph(**upstream: Any) -> Any:
        planned, whole = plan(**upstream)
        return collect(planned.map(compute).collect(), whole)

    # Dagster reads the names of the upstream assets from the signature.
    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in stage.upstream]
    graph.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return dg.graph_asset(
        name=stage.name,
        description=stage.description,
        group_name=stage.group,
        kinds={"python", "parquet"},
        ins={name: dg.AssetIn(key=name, dagster_type=dg.Nothing) for name in stage.upstream},
        config=settings,
    )(graph)


def _plan_op(stage: Stage) -> dg.OpDefinition:
    @dg.op(
        name=f"plan_{stage.name}",
        ins={name: dg.In(dg.Nothing) for name in stage.upstream},
        out={"batch": dg.DynamicOut(dict), "plan": dg.Out(dict)},
        description=f"Decide which batches of {stage.name} are needed.",
    )
    def plan(
        context: dg.OpExecutionContext,
        config: stage.config,  # type: ignore[name-defined]
        workspace: Workspace,
    ) -> Iterator[dg.DynamicOutput[dict[str, Any]] | dg.Output[dict[str, Any]]]:
        upstream = {name: batches.read_plan(workspace.folder(name)) for name in stage.upstream}
        settings = config.model_dump()
        if stage.settings:
            settings |= stage.settings(workspace, settings)
        planned = batches.plan_stage(stage.name, code_version(*stage.code), settings, upstream, stage.aspect)
        todo = batches.missing(workspace.folder(stage.name), planned)
        started = time.time()
        context.log.info(
            f"{stage.name}: {len(todo)} of {len(planned.batches)} batches to compute, the others are there"
        )
        for position, batch in enumerate(todo):
            progress = {"position": position, "of": len(todo), "started": started}
            work = {"batch": asdict(batch), "settings": settings, "progress": progress}
            yield dg.DynamicOutput(work, mapping_key=batch.name, output_name="batch")
        yield dg.Output({**asdict(planned), "started": started}, output_name="plan")

    return plan


def _batch_op(stage: Stage) -> dg.OpDefinition:
    @dg.op(name=f"{stage.name}_batch", description=f"One batch of {stage.name}.")
    def compute(context: dg.OpExecutionContext, workspace: Workspace, work: dict[str, Any]) -> dict[str, Any]:
        batch = Batch(**work["batch"])
        inputs = {
            name: batches.output_path(workspace.folder(name), fingerprint) for name, fingerprint in batch.inputs.items()
        }
        task = Work(workspace, inputs, work["settings"])
        folder = workspace.folder(stage.name)
        with one_sentence():
            outcome = batches.run_batch(folder, batch, lambda: stage.compute(task), stage.write)
        counts = f"{outcome.rows} rows, {outcome.rejects} rejects"
        context.log.info(f"{stage.name} {batch.name}: {counts}; {_progress(**work['progress'])}")
        return asdict(outcome)

    return compute


def _collect_op(stage: Stage) -> dg.OpDefinition:
    @dg.op(
        name=f"collect_{stage.name}",
        out=dg.Out(dg.Nothing),
        description=f"Make the complete set of batches of {stage.name} the one that counts.",
    )
    def collect(workspace: Workspace, outcomes: list[dict[str, Any]], plan: dict[str, Any]) -> dg.Output[None]:
        planned = Plan(tuple(Batch(**batch) for batch in plan["batches"]), plan["settings"])
        folder = workspace.folder(stage.name)
        metadata = batch_metadata(folder, planned, sum(outcome["computed"] for outcome in outcomes))
        metadata |= {"seconds": time.time() - plan["started"], "code_version": code_version(*stage.code)}
        if stage.finish:
            metadata |= stage.finish(workspace, planned)
        batches.commit(folder, planned)
        return dg.Output(None, metadata=metadata | stage.preview(workspace, planned))

    return collect


def batch_metadata(folder: Path, plan: Plan, computed: int) -> Metadata:
    """The counts that every stage reports; Dagster plots them over the materializations."""
    return {
        "batches": len(plan.batches),
        "computed": computed,
        "reused": len(plan.batches) - computed,
        "dagster/row_count": sum(batches.row_count(batches.output_path(folder, b.fingerprint)) for b in plan.batches),
        "rejects": sum(batches.reject_count(folder, batch) for batch in plan.batches),
    }


def _progress(position: int, of: int, started: float) -> str:
    """How far a stage is, and an estimate: batches are alike, and begin in their order."""
    elapsed = time.time() - started
    left = elapsed / (position + 1) * (of - position - 1)
    return f"{position + 1} of {of} after {duration(elapsed)}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
