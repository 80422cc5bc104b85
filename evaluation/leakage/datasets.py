"""Checks the datasets of a home for leakage, and keeps the findings with the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from evaluation.dataset import EvaluationDataset
from evaluation.leakage.checks import Leak, Sample, compare_splits, describe, find_shared_images, find_shared_patients
from evaluation.metrics.units import ALL
from evaluation.results.store import FOLDER
from ingestion.pipeline import READY, dataset_state
from ingestion.pooling.build import members_at
from ingestion.pooling.hashes import hash_split
from ingestion.versions import at_version
from ingestion.workspace import Workspace
from shards.pool import Pool
from store.errors import DamageError
from store.seals import expect_intact, is_sealed, write_sealed_json

FILE = "leakage.json"  # with the results
SPLITS = ("train", "validate", "test")
SEEN = ("train", "validate")  # by pretraining
AGAIN = "materialize the asset `leakage` again."
UNKNOWN = "Whether tests were seen in training is unknown: the findings were damaged; materialize `leakage` again."


def check_leakage(workspace: Workspace, datasets: Sequence[str], log: Callable[[str], None]) -> list[Leak]:
    """Compare the splits of each dataset, and the test split of each with what pretraining has seen.

    Of a pool it has seen what is used of each member. A dataset that is not ready is not compared. The sentences about
    what was found are written to FILE.
    """
    own = members_at(workspace)
    seen = [_read_sample(member, SEEN, log, _left_out(workspace, member.cohort_name())) for member in own]
    leaks: list[Leak] = []
    for member in own:
        parts = [_read_sample(member, (split,), log) for split in SPLITS]
        leaks += compare_splits(parts)
        others = [sample for sample in seen if sample.cohort != member.cohort_name()]
        leaks += _compare(others, parts[-1])
    for name in datasets:
        there = workspace.downstream(name)
        state = dataset_state(workspace, name)
        if name in [member.cohort_name() for member in own] or there is None or state["status"] != READY:
            continue
        there = at_version(there, state.get("version", ""))
        log(f"Comparing the images of {name} with those of {workspace.cohort_name()}.")
        tested = _read_sample(there, ("test",), log)
        leaks += _compare(seen, tested)
        leaks += compare_splits([_read_sample(there, (split,), log) for split in SPLITS])
    found = describe([leak for leak in leaks if leak.count])
    write_sealed_json(workspace.home_path() / FOLDER / FILE, {"pretraining": workspace.cohort_name(), "found": found})
    return leaks


def read_leaks(results: Path, cohort: str, log: Callable[[str], object]) -> list[str]:
    """The sentences of the last check; none where the networks of that check were pretrained on another cohort.

    Where they are damaged, the sentence about that is the only one.
    """
    path = results / FILE
    if not path.exists() and not is_sealed(path):
        return []
    try:
        kept = json.loads(expect_intact(path, AGAIN).read_text(encoding="utf-8"))
    except DamageError as error:
        log(str(error))
        return [UNKNOWN]
    return list(kept["found"]) if kept["pretraining"] == cohort else []


def _compare(seen: Sequence[Sample], tested: Sample) -> list[Leak]:
    """What a test sample shares with each of those that pretraining has seen."""
    return [check(one, tested) for one in seen for check in (find_shared_patients, find_shared_images)]


def _left_out(workspace: Workspace, cohort: str) -> list[str]:
    """The images of a dataset that the pool of a workspace does not use."""
    if not workspace.is_pool:
        return []
    table = Pool.load(workspace.folder("shards")).read_left_out()
    ids: list[str] = table.filter(pc.equal(table["cohort"], cohort))["image_id"].to_pylist()
    return ids


def _read_sample(
    workspace: Workspace, splits: tuple[str, ...], log: Callable[[str], object], left_out: Sequence[str] = ()
) -> Sample:
    """Images of some splits of a dataset without those `left_out`, hashed once for each version of its shards."""
    dataset = EvaluationDataset(workspace, view=ALL)  # whose views somebody trained on is not asked
    images = [dataset.images(split) for split in splits]
    hashed = np.concatenate([hash_split(workspace, dataset.reader, split, log) for split in splits])
    ids, subjects = (np.concatenate([getattr(one, name) for one in images]) for name in ("image_ids", "subjects"))
    kept = ~np.isin(ids.astype(str), left_out)
    return Sample(workspace.cohort_name(), splits, subjects[kept], hashed[kept])
