"""Checks the datasets of a home for leakage, and keeps the findings with the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from evaluation.dataset import EvaluationDataset
from evaluation.leakage import duplicates
from evaluation.leakage.checks import Leak, Sample, compare_splits, describe, find_shared_images, find_shared_patients
from evaluation.results.store import FOLDER
from ingestion.pipeline import READY, dataset_state
from ingestion.workspace import Workspace
from store.atomic import replacing, write_json
from store.code import code_version
from store.digests import fingerprint

FILE = "leakage.json"  # with the results
SPLITS = ("train", "validate", "test")
SEEN = ("train", "validate")  # by pretraining


def check_leakage(workspace: Workspace, datasets: Sequence[str], log: Callable[[str], None]) -> list[Leak]:
    """Compare the splits of each dataset, and the test split of each with what pretraining has seen.

    A dataset that is not ready is not compared. The sentences about what was found are written to FILE.
    """
    own = workspace.cohort_name()
    seen = _read_sample(workspace, SEEN)
    leaks = compare_splits([_read_sample(workspace, (split,)) for split in SPLITS])
    for name in datasets:
        there = workspace.downstream(name)
        if name == own or there is None or dataset_state(workspace, name)["status"] != READY:
            continue
        log(f"Comparing the images of {name} with those of {own}.")
        tested = _read_sample(there, ("test",))
        leaks += [find_shared_patients(seen, tested), find_shared_images(seen, tested)]
        leaks += compare_splits([_read_sample(there, (split,)) for split in SPLITS])
    found = describe([leak for leak in leaks if leak.count])
    write_json(workspace.home_path() / FOLDER / FILE, {"pretraining": own, "found": found})
    return leaks


def read_leaks(results: Path, cohort: str) -> list[str]:
    """The sentences of the last check; none where the networks of that check were pretrained on another cohort."""
    path = results / FILE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return list(kept["found"]) if kept.get("pretraining") == cohort else []


def _read_sample(workspace: Workspace, splits: tuple[str, ...]) -> Sample:
    """Images of some splits of a dataset, hashed once for each version of its shards."""
    dataset = EvaluationDataset(workspace)
    parts = [(dataset.images(split).subjects, _hash_split(dataset, split)) for split in splits]
    subjects, hashed = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sample(workspace.cohort_name(), splits, subjects, hashed)


def _hash_split(dataset: EvaluationDataset, split: str) -> np.ndarray:
    """(n, 2, BITS / 8) uint8 hashes of a split, from the cache where they are known."""
    digest = fingerprint(dataset.reader.manifest.digest, split, code_version("evaluation.leakage.duplicates"))
    path = dataset.workspace.folder("hashes") / f"{digest}.npy"
    if not path.exists():
        hashed = duplicates.hash_images(dataset.images(split).pixels)
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, hashed)
    kept: np.ndarray = np.load(path)
    return kept
