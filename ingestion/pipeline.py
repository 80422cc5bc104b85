"""The whole ingestion of a dataset in this process, from its archive to its shards, and the state that it leaves.

`update` brings one dataset up to date; only what is new or changed costs. Dagster runs the same stages as ops.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from cohorts.errors import CohortError
from cohorts.phantom.config import PhantomConfig
from cohorts.views import KINDS, USUAL
from ingestion import checks, inventory, stage
from ingestion.checks import CheckResult
from ingestion.inventory import InventorySettings, update_inventory
from ingestion.pooling.names import members_of
from ingestion.simulation import simulate_archive
from ingestion.stage import Log, NoSettings, Stage
from ingestion.stages import images, kept_images, report_labels, reports, shards, triplets
from ingestion.stages.images import ImagesSettings
from ingestion.stages.reports import ReportsSettings
from ingestion.stages.triplets import TripletsSettings
from ingestion.tables.exports import KnowledgeSettings, write_knowledge
from ingestion.tables.regions import expect_masks, update_regions
from ingestion.tables.subsets import SubsetsSettings, write_subsets, write_usable
from ingestion.versions import take_version, writing
from ingestion.workspace import PHANTOM
from store import batches
from store.batches import Plan
from store.errors import DamageError, UserError, did_you_mean
from store.seals import is_intact, is_sealed, write_sealed_json

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion.workspace import Workspace

READY, ABSENT, FAILED = "ready", "absent", "failed"
STATE = "downstream.json"  # in the folder of a dataset: what came of bringing it up to date


def _reports_code(workspace: Workspace) -> tuple[str, ...]:
    from cohorts.registry import reader_module

    return (*reports.CODE, reader_module(workspace.cohort_name()))


def _finish_shards(workspace: Workspace, plan: Plan) -> Mapping[str, Any]:
    """Write the manifest, then the annotated regions that lie beside the shards; nothing where their files are gone."""
    expect_masks(workspace)
    counts = shards.finish(workspace, plan)
    update_regions(workspace)
    return counts


IMAGES = Stage(
    name="images",
    upstream=("inventory",),
    aspect=inventory.IMAGES,
    code=lambda _: images.CODE,
    settings=ImagesSettings,
    compute=kept_images.compute,
)
REPORTS = Stage(
    name="reports",
    upstream=("inventory",),
    aspect=inventory.TEXTS,
    code=_reports_code,
    settings=ReportsSettings,
    compute=reports.compute,
)
TRIPLETS = Stage(
    name="triplets",
    upstream=("reports",),
    code=lambda _: triplets.CODE,
    settings=TripletsSettings,
    implied=triplets.imply,
    compute=triplets.compute,
)
REPORT_LABELS = Stage(
    name="report_labels",
    upstream=("reports", "triplets"),
    code=lambda _: report_labels.CODE,
    compute=report_labels.compute,
)
SHARDS = Stage(
    name="shards",
    upstream=("inventory", "images", "reports", "triplets"),
    after=("studies", "subsets", "knowledge"),  # a version is kept of all tables together
    code=lambda _: shards.CODE,
    implied=shards.imply,
    compute=shards.compute,
    write=shards.write,
    finish=_finish_shards,
)


STAGES = (IMAGES, REPORTS, TRIPLETS, REPORT_LABELS, SHARDS)


@dataclass(frozen=True)
class IngestionSettings:
    """The settings of all stages."""

    archive: PhantomConfig = field(default_factory=PhantomConfig)  # of the phantom alone
    inventory: InventorySettings = field(default_factory=InventorySettings)
    images: ImagesSettings = field(default_factory=ImagesSettings)
    reports: ReportsSettings = field(default_factory=ReportsSettings)
    triplets: TripletsSettings = field(default_factory=TripletsSettings)
    subsets: SubsetsSettings = field(default_factory=SubsetsSettings)
    knowledge: KnowledgeSettings = field(default_factory=KnowledgeSettings)


# Folder -> the settings that are kept in it.
SETTINGS: dict[str, type] = {
    "inventory": InventorySettings,
    "images": ImagesSettings,
    "reports": ReportsSettings,
    "triplets": TripletsSettings,
    "subsets": SubsetsSettings,
    "knowledge": KnowledgeSettings,
}


def update(
    workspace: Workspace, settings: IngestionSettings | None = None, log: Log = lambda _: None, progress: bool = True
) -> dict[str, Any]:
    """Bring a dataset up to date with its archive; returns its state as `keep_ready` does.

    Of a pool every member is brought up to date, with the same settings, and then the pool.

    Only one process at a time does this for a dataset in a home; others wait. The phantom's archive is simulated first.
    `progress` shows a bar in a terminal. CohortError says in one sentence what is wrong with the archive or a setting,
    or which check the data fails.
    """
    with writing(workspace, log):
        states = [_update(member, settings or IngestionSettings(), log, progress) for member in workspace.members()]
        return keep_pool(workspace, log) if workspace.is_pool else states[0]


def _update(workspace: Workspace, settings: IngestionSettings, log: Log, progress: bool) -> dict[str, Any]:
    if workspace.simulated():
        simulate_archive(workspace, settings.archive, log)
    update_inventory(workspace, settings.inventory, log)
    plans = plan_stages(workspace, settings)
    todo, started = list_missing(workspace, plans, log), time.time()
    log(describe_plan(len(todo), plans))
    computed: Counter[str] = Counter()
    for position, name in enumerate(_with_bar(list(todo), progress)):
        computed.update(run_stages(workspace, todo[name], log))
        log(stage.describe_progress(position, len(todo), started))
    _, results = finish_stages(workspace, plans, computed, settings, log)
    for result in results:
        if result.blocks:
            raise CohortError(explain_check(result, workspace.cohort_name()))
        if not result.passed:
            log(f"Warning: {explain_check(result, workspace.cohort_name())}")
    return keep_ready(workspace)


def plan_stages(workspace: Workspace, settings: IngestionSettings) -> dict[str, Plan]:
    """The plan of every stage behind the inventory that counts."""
    chosen = {"images": settings.images, "reports": settings.reports, "triplets": settings.triplets}
    plans: dict[str, Plan] = {}
    for one in STAGES:
        plans[one.name] = stage.plan(one, workspace, chosen.get(one.name, NoSettings()), plans)
    return plans


def list_missing(
    workspace: Workspace, plans: Mapping[str, Plan], log: Log = lambda _: None
) -> dict[str, dict[str, Plan]]:
    """Name of each batch that some stage has to compute -> the plans of all stages, cut down to this batch.

    Damaged batches are set aside, which `log` is told.
    """
    names = {batch.name for one in STAGES for batch in stage.missing(one, workspace, plans[one.name], log)}
    found: dict[str, dict[str, Plan]] = {name: {} for name in sorted(names)}
    for one, planned in plans.items():
        for batch in planned.batches:
            if batch.name in found:
                found[batch.name][one] = Plan((batch,), planned.settings)
    return found


def describe_plan(todo: int, plans: Mapping[str, Plan]) -> str:
    """How much is to be computed."""
    return f"{todo} of {len(plans[SHARDS.name].batches)} batches to compute, the others are there"


def run_stages(workspace: Workspace, plans: Mapping[str, Plan], log: Log) -> list[str]:
    """Compute what the stages lack of the batch in `plans`, from its files to its shard; returns those that did.

    A damaged file of an earlier stage, which is set aside when it is read, is made again.
    """
    try:
        return _run_stages(workspace, plans, log)
    except DamageError as error:
        log(str(error))
        return _run_stages(workspace, plans, log)


def _run_stages(workspace: Workspace, plans: Mapping[str, Plan], log: Log) -> list[str]:
    computed = []
    for one in STAGES:
        (batch,) = plans[one.name].batches
        outcome = stage.run(one, workspace, batch, plans[one.name].settings, log)
        if outcome.computed:
            log(stage.describe_outcomes(one.name, [outcome]))
            computed.append(one.name)
    return computed


def finish_stages(
    workspace: Workspace, plans: Mapping[str, Plan], computed: Mapping[str, int], settings: IngestionSettings, log: Log
) -> tuple[dict[str, dict[str, Any]], list[CheckResult]]:
    """Make the complete plans those that count, write the tables and the manifest, and check them.

    Returns counts by stage, and the results of the checks. Shards do not count where a check of the tables blocks.
    """
    counts = {
        one.name: stage.collect(one, workspace, plans[one.name], computed.get(one.name, 0))
        for one in STAGES
        if one is not SHARDS
    }
    studies, rejects = write_usable(workspace)
    log(f"{studies.num_rows} images can be used, {rejects.num_rows} cannot.")
    write_subsets(workspace, settings.subsets)
    write_knowledge(workspace, settings.knowledge)
    results = list(checks.check_studies(workspace))
    if not any(result.blocks for result in results):
        counts[SHARDS.name] = stage.collect(SHARDS, workspace, plans[SHARDS.name], computed.get(SHARDS.name, 0))
        results += checks.check_shards(workspace)
    return counts, results


def last_settings(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Folder -> the settings that its present table was made with; tables that are not there are left out."""
    found = {}
    for name, settings in SETTINGS.items():
        stored = stage.kept_settings(workspace.folder(name))
        chosen = {item.name: stored[item.name] for item in fields(settings) if item.name in stored}
        if chosen:
            found[name] = chosen
    return found


def downstream_names() -> list[str]:
    """The datasets beside the phantom."""
    from cohorts.registry import cohort_names

    return [name for name in cohort_names() if name != PHANTOM]


def choose_datasets(workspace: Workspace, names: Sequence[str], splits: Mapping[str, str]) -> list[str]:
    """The datasets to evaluate on: `names` or, if that is empty, all, without the one that pretraining was on.

    CohortError names an entry of `names` or `splits` that is no dataset.
    """
    known = downstream_names()
    for option, given in (("cohorts", names), ("splits", splits)):
        if unknown := set(given) - set(known):
            name = f"{min(unknown)}{did_you_mean(min(unknown), known)}"
            raise CohortError(f"evaluation.{option} names {name}, which is not one of {', '.join(known)}.")
    return [name for name in names or known if name not in members_of(workspace.cohort_name())]


def downstream_settings(
    workspace: Workspace, there: Workspace, split: str = "", views: Sequence[str] = USUAL
) -> IngestionSettings:
    """Settings of the downstream dataset of the workspace `there`: images as those of the pretraining, and the default
    of everything else. Views that it has stay beside those that are asked for."""
    return IngestionSettings(
        images=ImagesSettings(**last_settings(workspace.members()[0]).get("images", {})),
        inventory=InventorySettings(split=split, views=add_views(there, views)),
    )


def add_views(there: Workspace, views: Sequence[str]) -> tuple[str, ...]:
    """`views` and those that the inventory of a dataset has, so that numbers of other views do not become outdated.

    A damaged inventory is made again, and has none.
    """
    known = batches.read_last_plan(there.folder("inventory"), lambda _: None).settings.get("views", ())
    return tuple(kind for kind in KINDS if kind in {*views, *known})


def update_dataset(
    workspace: Workspace,
    name: str,
    split: str = "",
    log: Log = lambda _: None,
    progress: bool = True,
    views: Sequence[str] = USUAL,
) -> dict[str, Any]:
    """Bring a downstream dataset up to date, with images like those of the pretraining in `workspace`.

    Returns the state and writes it. What goes wrong becomes the status `failed`, with a note.
    """
    there = workspace.downstream(name)
    if there is None:
        return write_state(workspace, name, describe_absent(explain_absent(name)))
    try:
        state = update(there, downstream_settings(workspace, there, split, views), log, progress)
    except UserError as error:
        state = describe_failed(str(error))
    except Exception as error:
        state = describe_failed(explain_fault(error, "its ingestion"))
    return write_state(workspace, name, state)


def dataset_state(workspace: Workspace, name: str) -> dict[str, Any]:
    """What came of bringing a downstream dataset up to date: its `status` (ready, absent, failed) and a `note`.

    Of a dataset that is ready there is also the `version` to read.
    """
    path = _state_path(workspace, name)
    if not path.exists() and not is_sealed(path):
        return describe_absent(f"{name} was not looked for yet: materialize dataset/{name} first.")
    if not is_intact(path):
        return describe_failed(f"{path} is damaged: materialize dataset/{name} again.")
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def write_state(workspace: Workspace, name: str, state: dict[str, Any]) -> dict[str, Any]:
    """Keep the state for `dataset_state`."""
    write_sealed_json(_state_path(workspace, name), state)
    return state


def keep_ready(workspace: Workspace) -> dict[str, Any]:
    """Keep the tables of a dataset that is up to date as a version; to be called while `writing`.

    Returns the state of the dataset: where it is from, its data version, the version and its splits.
    """
    from shards.manifest import Manifest

    manifest = Manifest.load(workspace.folder("shards"))
    about = {
        "root": str(workspace.root()),
        "simulated": workspace.shows_simulation(),
        "data_version": manifest.digest,
        "version": take_version(workspace),
    }
    return {"status": READY, "note": "", **about, **manifest.splits}


def keep_pool(workspace: Workspace, log: Log = lambda _: None) -> dict[str, Any]:
    """Build the pool of members that are up to date; to be called while `writing`. Returns its state."""
    from ingestion.pooling.build import build_pool

    pool = build_pool(workspace, log)
    about = {"data_version": pool.digest, "version": take_version(workspace), "members": pool.data_versions}
    return {"status": READY, "note": "", "simulated": workspace.shows_simulation(), **about, **pool.splits}


def explain_absent(name: str) -> str:
    """A sentence on how to get an archive that is not there."""
    from cohorts.registry import how_to_get

    return f"{name} has no archive. To use RADALIGN_{name.upper()}_ROOT, {how_to_get(name)}"


def describe_absent(note: str) -> dict[str, Any]:
    """The state of a dataset that is not ingested, and why."""
    return {"status": ABSENT, "note": note}


def describe_failed(note: str) -> dict[str, Any]:
    """The state of a dataset whose ingestion failed."""
    return {"status": FAILED, "note": note}


def explain_fault(error: Exception, step: str) -> str:
    """A sentence on an error of ours; the error's own message may quote a report."""
    return f"{type(error).__name__} in our code, at {step}; the log has the place."


def explain_check(result: CheckResult, cohort: str) -> str:
    """A sentence on a check that failed."""
    about = f" ({result.description})" if result.description else ""
    again = f"RADALIGN_COHORT={cohort} dagster job execute -j ingest"
    return f"The check {result.name} of its {result.table} failed{about}; `{again}` shows it."


def _with_bar(todo: Sequence[str], progress: bool) -> Iterator[str]:
    from tqdm import tqdm

    yield from tqdm(todo, unit="batch", leave=False, disable=None if progress else True)


def _state_path(workspace: Workspace, name: str) -> Path:
    return workspace.home_path() / name / STATE
