"""The nights of a finished network: which images came when, and what was known of them.

A network that is trained has seen the images of one version of the tables, or might have. What came later came in some
night. The plan of a folder says which image came in which night; the night is a batch of `store.batches`. An image is
of one night, whatever is killed or repeated: the next night has all images that are in no earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.dataset import Dataset
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.metrics.units import ALL
from evaluation.monitoring.scored import describe_images, findings_of
from evaluation.predictions import Predictions
from ingestion.versions import at_version, has_version
from models.compute import AUTOMATIC, Compute
from store import batches
from store.batches import Batch, Plan
from store.code import code_version
from store.digests import fingerprint
from store.remote import mirror
from store.seals import expect_intact, is_intact, write_sealed_table

if TYPE_CHECKING:
    from evaluation.monitoring.settings import MonitoringSettings
    from ingestion.workspace import Workspace
    from tracking.runs import TrainedRun

FOLDER = "monitoring"  # in the folder of a dataset
KNOWN = "known.parquet"  # the images that were there at the training
TRAIN, HELD_OUT = "train", "held_out"  # the images that nights are compared with, and the batches of them
REMEDY = "copy it back from a backup, or remove it and its seal: all images since the training are one night then."

Log = Callable[[str], object]


@dataclass(frozen=True)
class Night:
    """The images that came since the night before."""

    name: str  # night-0001
    date: str  # of the day on which they were met, yyyy-mm-dd
    version: str  # of the tables in which they were met
    images: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """All nights of a network, with what is known of their images: tables of evaluation.monitoring.scored.SCORED."""

    findings: dict[str, str]
    nights: tuple[Night, ...]
    tables: Mapping[str, pa.Table]  # by the name of the night, TRAIN and HELD_OUT
    fingerprints: Mapping[str, str]  # of these tables
    computed: int  # tables that were not there before


def series_folder(workspace: Workspace, run: TrainedRun) -> Path:
    """Where the nights of a network lie."""
    return workspace.home_path() / workspace.cohort_name() / FOLDER / run.method / run.fingerprint


def update_nights(
    workspace: Workspace,
    run: TrainedRun,
    settings: MonitoringSettings,
    date: str,
    log: Log,
    compute: Compute = AUTOMATIC,
) -> Series:
    """Score every image that came since the last night. To be called by one process at a time.

    `workspace` reads the version of the tables that the night sees. A series begins with the images that were there at
    the training or, where that version is not kept, with those that are there now.
    """
    folder = series_folder(workspace, run)
    plan = batches.read_plan(folder, REMEDY)
    before = at_version(workspace, run.version) if has_version(workspace, run.version) else workspace
    known = read_known(folder, before, plan, settings.reference)
    present = EvaluationDataset(workspace)
    findings = plan.settings.get("findings") or findings_of(EvaluationDataset(before))
    _expect_same_squares(present, EvaluationDataset(before))
    nights = read_nights(plan)
    new = find_new(present, known, nights)
    if new:
        nights = (*nights, Night(f"night-{1 + len(nights):04d}", date, workspace.version, tuple(new)))
    members = {name: _ids_of_role(known, name) for name in (TRAIN, HELD_OUT)} | {one.name: one.images for one in nights}
    facts = Dataset(workspace.cohort_name(), zero_shot=findings)
    predictions = {
        place: Predictions(EvaluationDataset(place, facts, ALL), run, "trained", log, compute)
        for place in (before, workspace)
    }
    identity = _identity(run, findings, predictions[workspace])
    cut = [Batch(name, fingerprint(identity, name in (TRAIN, HELD_OUT), list(ids))) for name, ids in members.items()]
    computed = 0
    for batch in cut:
        place = before if batch.name in (TRAIN, HELD_OUT) else workspace
        ids = members[batch.name]

        def describe(place: Workspace = place, ids: Sequence[str] = ids) -> batches.Computed:
            return describe_images(predictions[place], ids, log), None

        outcome = batches.run_batch(folder, batch, describe, log=log)
        computed += outcome.computed
    named = {one.name: {key: value for key, value in asdict(one).items() if key != "name"} for one in nights}
    batches.commit(folder, Plan(tuple(cut), {"findings": findings, "nights": named}))
    tables = {batch.name: pq.read_table(batches.intact_path(folder, batch, verified=True)) for batch in cut}
    log(f"{len(new)} images are new since the last night." if new else "No image is new since the last night.")
    return Series(dict(findings), nights, tables, {batch.name: batch.fingerprint for batch in cut}, computed)


def read_nights(plan: Plan) -> tuple[Night, ...]:
    """The nights of a plan, in their order."""
    stored: Mapping[str, Mapping[str, Any]] = plan.settings.get("nights", {})
    return tuple(Night(name, one["date"], one["version"], tuple(one["images"])) for name, one in stored.items())


def read_known(folder: Path, before: Workspace, plan: Plan, reference: int) -> pa.Table:
    """The images that were there at the training (image_id, role), written once.

    The role is TRAIN or HELD_OUT of the images that nights are compared with: at most `reference` of each, chosen by
    digests of their ids. It is empty for the others.
    """
    path = folder / KNOWN
    mirror.fetch(path)
    if not is_intact(path):
        later = {image for night in read_nights(plan) for image in night.images}
        table = EvaluationDataset(before).reader.columns(None, ["image_id", "split"])
        ids, splits = (table[name].to_pylist() for name in ("image_id", "split"))
        found = {image: TRAIN if split == "train" else HELD_OUT for image, split in zip(ids, splits, strict=True)}
        found = {image: role for image, role in found.items() if image not in later}
        chosen = {image for role in (TRAIN, HELD_OUT) for image in _choose(found, role, reference)}
        roles = [role if image in chosen else "" for image, role in found.items()]
        write_sealed_table(pa.table({"image_id": list(found), "role": roles}), path)
    return pq.read_table(expect_intact(path, "give the same command again, which makes it again."))


def find_new(present: EvaluationDataset, known: pa.Table, nights: Sequence[Night]) -> list[str]:
    """The images that are in no night and were not there at the training, in the order of their ids."""
    ids = present.reader.columns(None, ["image_id"])["image_id"].to_pylist()
    old = {*known["image_id"].to_pylist(), *(image for night in nights for image in night.images)}
    return sorted(set(ids) - old)


def choose_images(image_ids: Iterable[str], count: int) -> list[str]:
    """At most `count` of the images, chosen by digests of their ids."""
    return sorted(image_ids, key=lambda image: hashlib.sha256(image.encode()).digest())[:count]


def _choose(roles: Mapping[str, str], role: str, count: int) -> list[str]:
    return choose_images((image for image, given in roles.items() if given == role), count)


def _ids_of_role(known: pa.Table, role: str) -> tuple[str, ...]:
    return tuple(known.filter(pc.equal(known["role"], role))["image_id"].to_pylist())


def _identity(run: TrainedRun, findings: Mapping[str, str], predictions: Predictions) -> str:
    """What decides the rows of images besides the images."""
    from models.registry import evaluated_modules

    manifest = predictions.dataset.reader.manifest
    code = code_version("evaluation.monitoring.scored", *evaluated_modules(run.method))
    return fingerprint(
        predictions.digest, findings, manifest.size, manifest.squash, predictions.compute.precision, code
    )


def _expect_same_squares(present: EvaluationDataset, before: EvaluationDataset) -> None:
    """EvaluationError where images are kept otherwise than at the training: grey levels cannot be compared."""
    now, then = present.reader.manifest, before.reader.manifest
    if (now.size, now.squash) != (then.size, then.squash):
        raise EvaluationError(
            f"The images of {present.workspace.cohort_name()} are squares of {now.size} pixels now and were of "
            f"{then.size} at the training: bring the dataset up to date with images.size={then.size} and the same "
            "images.squash, or train again."
        )
