"""Checks the datasets of a home for leakage, and keeps the findings with the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from evaluation.dataset import EvaluationDataset
from evaluation.leakage.checks import Leak, Sample, compare_splits, describe, find_shared_images, find_shared_patients
from evaluation.metrics.units import ALL
from evaluation.results.store import FOLDER
from ingestion.pipeline import READY, dataset_state
from ingestion.pooling.hashes import hash_split
from ingestion.versions import at_version
from ingestion.workspace import Workspace
from store.errors import DamageError
from store.seals import expect_intact, is_sealed, write_sealed_json

FILE = "leakage.json"  # with the results
SPLITS = ("train", "validate", "test")
SEEN = ("train", "validate")  # by pretraining
AGAIN = "materialize the asset `leakage` again."
UNKNOWN = "Whether tests were seen in training is unknown: the findings were damaged; materialize `leakage` again."


def check_leakage(workspace: Workspace, datasets: Sequence[str], log: Callable[[str], None]) -> list[Leak]:
    """Compare the splits of each dataset, and the test split of each with what pretraining has seen.

    A dataset that is not ready is not compared. The sentences about what was found are written to FILE.
    """
    own = workspace.cohort_name()
    seen = _read_sample(workspace, SEEN, log)
    leaks = compare_splits([_read_sample(workspace, (split,), log) for split in SPLITS])
    for name in datasets:
        there = workspace.downstream(name)
        state = dataset_state(workspace, name)
        if name == own or there is None or state["status"] != READY:
            continue
        there = at_version(there, state.get("version", ""))
        log(f"Comparing the images of {name} with those of {own}.")
        tested = _read_sample(there, ("test",), log)
        leaks += [find_shared_patients(seen, tested), find_shared_images(seen, tested)]
        leaks += compare_splits([_read_sample(there, (split,), log) for split in SPLITS])
    found = describe([leak for leak in leaks if leak.count])
    write_sealed_json(workspace.home_path() / FOLDER / FILE, {"pretraining": own, "found": found})
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


def _read_sample(workspace: Workspace, splits: tuple[str, ...], log: Callable[[str], object]) -> Sample:
    """Images of some splits of a dataset, hashed once for each version of its shards."""
    dataset = EvaluationDataset(workspace, view=ALL)  # whose views somebody trained on is not asked
    parts = [(dataset.images(split).subjects, hash_split(workspace, dataset.reader, split, log)) for split in splits]
    subjects, hashed = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sample(workspace.cohort_name(), splits, subjects, hashed)
