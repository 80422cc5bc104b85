"""Turns a stage of ingestion into a Dagster asset: plan, then mapped ops for the batches, then collect.

The batches of one run are dynamic outputs, so whichever executor the run has spreads them. A mapped op computes one
batch or, where there are more than MOST_STEPS, a group of successive ones: what Dagster keeps of a run stays bounded
however large an archive is. Each batch is kept once it is computed, so a group that is begun again goes on.

The plan itself is no output: it follows from the plans upstream, the settings and the code, and is made again.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import dagster as dg

from assets.members import join_metadata, join_versions
from assets.settings.launchpad import given_values, launchpad_config, preset_config
from assets.settings.presets import image_presets
from assets.workspace import WorkspaceResource, identify, one_sentence
from ingestion import stage
from ingestion.pipeline import IMAGES
from ingestion.stage import Stage
from ingestion.workspace import Workspace, member_of
from store import batches
from store.batches import Batch, Count, Plan
from store.home import expect_room

Metadata = dict[str, Any]
Preview = Callable[[Workspace, Plan], Metadata]
Record = Callable[[Workspace, str], Metadata]
MOST_STEPS = 500  # mapped ops of a stage in one run
LOG_EVERY = 300.0  # seconds, within a group
IMAGE_COPIES = 2  # among the images, and in the shards
KINDS = {"python", "parquet"}
Item = TypeVar("Item")


def batched_asset(
    one: Stage, group: str, description: str, preview: Preview, record: Record | None = None
) -> dg.AssetsDefinition:
    """The asset of a stage; `preview` makes the metadata that only this stage has.

    `record` is called with the id of the run once the plan counts, and returns further metadata.
    """
    of_images = one.name == IMAGES.name
    config_class = preset_config(one.settings, image_presets()) if of_images else launchpad_config(one.settings)
    plan, compute, collect = _plan_op(one, config_class), _batch_op(one), _collect_op(one, preview, record)

    @dg.config_mapping
    def settings(config: config_class) -> Mapping[str, Any]:  # type: ignore[valid-type]
        return {f"plan_{one.name}": {"config": given_values(config)}}  # type: ignore[attr-defined]

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
        place, plans, started = workspace.plain(), {}, time.time()
        for there in place.members():
            name = there.cohort_name()
            with one_sentence():
                planned = stage.plan(one, there, _settings(one, config, place))
            todo = stage.missing(one, there, planned, context.log.warning)
            with one_sentence():
                _expect_room(one, there, todo, planned.settings)
            which = f"{one.name} of {name}" if place.is_pool else one.name
            context.log.info(f"{which}: {len(todo)} of {len(planned.batches)} batches to compute, the others are there")
            for first, group in group_batches(todo):
                progress = {"position": first, "of": len(todo), "started": started}
                batches = [asdict(batch) for batch in group]
                work = {"cohort": name, "batches": batches, "settings": planned.settings, "progress": progress}
                key = f"{name}_{group[0].name}" if place.is_pool else group[0].name
                yield dg.DynamicOutput(work, mapping_key=key, output_name="batch")
            plans[name] = {"settings": planned.settings, "version": planned.version()}
        yield dg.Output({"plans": plans, "started": started}, output_name="plan")

    return plan


def group_batches(todo: Sequence[Item]) -> Iterator[tuple[int, Sequence[Item]]]:
    """Cut what is to be computed into at most MOST_STEPS groups of one size but the last, each with its position."""
    size = -(-len(todo) // MOST_STEPS)
    for first in range(0, len(todo), max(size, 1)):
        yield first, todo[first : first + size]


def _settings(one: Stage, config: dg.Config, workspace: Workspace) -> Any:
    base = image_presets()[workspace.preset_name()] if one.name == IMAGES.name else {}
    return one.settings(**{**base, **given_values(config)})


def _expect_room(one: Stage, workspace: Workspace, todo: Sequence[Batch], settings: Mapping[str, Any]) -> None:
    """Before hours of decoding: whether the disk holds the images, and the shards that repeat them."""
    if one.name == IMAGES.name and todo:
        listed = [batches.output_path(workspace.folder("inventory"), batch.inputs["inventory"]) for batch in todo]
        needed = IMAGE_COPIES * settings["size"] ** 2 * sum(map(batches.row_count, listed))
        expect_room(workspace.home_path(), needed, "the decoding of the images")


def _batch_op(one: Stage) -> dg.OpDefinition:
    @dg.op(name=f"{one.name}_batch", description=f"Some batches of {one.name}.")
    def compute(context: dg.OpExecutionContext, workspace: WorkspaceResource, work: dict[str, Any]) -> dict[str, Any]:
        there = member_of(workspace.plain(), work["cohort"])
        group = [Batch(**batch) for batch in work["batches"]]
        outcomes, position, logged = [], work["progress"]["position"], time.monotonic()
        for batch in group:
            with one_sentence():
                outcomes.append(stage.run(one, there, batch, work["settings"], context.log.warning))
            if batch is group[-1] or time.monotonic() - logged > LOG_EVERY:
                logged = time.monotonic()
                progress = stage.describe_progress(**{**work["progress"], "position": position + len(outcomes) - 1})
                context.log.info(f"{stage.describe_outcomes(one.name, outcomes)}; {progress}")
        counts = {outcome.fingerprint: (outcome.rows, outcome.rejects) for outcome in outcomes}
        computed = sum(outcome.computed for outcome in outcomes)
        return {"cohort": work["cohort"], "computed": computed, "counts": counts}

    return compute


def _collect_op(one: Stage, preview: Preview, record: Record | None) -> dg.OpDefinition:
    @dg.op(
        name=f"collect_{one.name}",
        out=dg.Out(dg.Nothing),
        description=f"Make the complete set of batches of {one.name} the one that counts.",
    )
    def collect(
        context: dg.OpExecutionContext,
        workspace: WorkspaceResource,
        outcomes: list[dict[str, Any]],
        plan: dict[str, Any],
    ) -> dg.Output[None]:
        place, versions, found = workspace.plain(), [], {}
        for there in place.members():
            name = there.cohort_name()
            own = [outcome for outcome in outcomes if outcome["cohort"] == name]
            computed = sum(outcome["computed"] for outcome in own)
            known = {which: Count(*numbers) for outcome in own for which, numbers in outcome["counts"].items()}
            with one_sentence():
                planned = stage.plan_again(one, there, **plan["plans"][name])
                counts = stage.collect(one, there, planned, computed, known)
                counts |= record(there, context.run.run_id) if record else {}
            versions.append(counts.get("data_version", planned.version()))
            found[name] = show_counts(counts) | preview(there, planned) | identify(there)
        with one_sentence():
            of_all = record(place, context.run.run_id) if record and place.is_pool else {}
        version = of_all.get("data_version") or join_versions(versions)
        metadata = {**join_metadata(place, found), **of_all, "seconds": time.time() - plan["started"]}
        return dg.Output(None, metadata=metadata, data_version=dg.DataVersion(version))

    return collect


def show_counts(counts: Mapping[str, Any]) -> Metadata:
    """The counts of a stage as metadata; Dagster plots the number of rows over the materializations."""
    return {"dagster/row_count" if name == "rows" else name: value for name, value in counts.items()}
