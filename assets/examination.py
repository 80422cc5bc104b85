"""Asks a network about one split of the cohort, once: classification and grounding read the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from assets import batches
from assets.training_runs import TrainedRun
from assets.workspace import Workspace
from shards.atomic import replacing
from shards.code_version import code_version

if TYPE_CHECKING:
    from evaluation.truth import Truth
    from evaluation.zero_shot import ZeroShotOutput
    from report_parsing.knowledge import KnowledgeBase
    from shards.reader import ShardData

WEIGHTS = ("trained", "untrained")
KEPT = "answers"  # folder beside the weights
ANSWER_CODE = ("evaluation/zero_shot.py", "models")


@dataclass(frozen=True)
class Examination:
    """The images of a split, the truth about them, and what a network says."""

    data: ShardData
    truth: Truth
    answers: ZeroShotOutput


@cache
def _knowledge() -> KnowledgeBase:
    """The names of the observations, compiled once per process: every network and picture asks for the classes."""
    from report_parsing.knowledge import KnowledgeBase

    return KnowledgeBase.default()


def classes_of(workspace: Workspace) -> dict[str, str]:
    """The cohort's labels that are another name of an observation that the network has learnt: label -> entity."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from report_parsing.vocabulary import ENTITIES

    base = _knowledge()
    table = pq.read_table(workspace.folder("studies") / "studies.parquet", columns=["labels"])
    labels = table["labels"].combine_chunks().drop_null()
    names = pc.unique(labels.keys).to_pylist()
    meanings = {name: base.lookup(name) for name in sorted(names)}
    return {name: match.name for name, match in meanings.items() if match and match.exact and match.name in ENTITIES}


def examine(workspace: Workspace, run: TrainedRun, weights: str, split: str, log: Callable[[str], None]) -> Examination:
    """Everything that scoring needs about `split`. Answers are kept beside the weights and found again."""
    from evaluation.truth import load_truth
    from shards.reader import ShardReader

    classes = classes_of(workspace)
    reader = ShardReader(workspace.folder("shards"))
    data = reader.read(split)
    studies = workspace.folder("studies") / "studies.parquet"
    truth = load_truth(studies, workspace.root(), data.image_ids, list(classes), reader.manifest.size)
    key = batches.fingerprint(reader.manifest.digest, split, classes, code_version(*ANSWER_CODE))
    output = workspace.home_path() / run.output
    path = output / KEPT / f"{weights}-{split}-{key}.npz"
    return Examination(data, truth, _answers(path, output, weights, data, list(classes.values()), log))


def _answers(
    path: Path, output: Path, weights: str, data: ShardData, entities: list[str], log: Callable[[str], None]
) -> ZeroShotOutput:
    from evaluation.zero_shot import ZeroShotOutput, run_zero_shot

    if path.exists():
        with np.load(path) as kept:
            return ZeroShotOutput(kept["scores"], kept["maps"])
    if not len(data) or not entities:
        empty = np.zeros((len(data), len(entities)), np.float32)
        return ZeroShotOutput(empty, empty[..., None, None])
    from training.checkpoint import load_method

    log(f"Asking the {weights} network about {len(data)} images.")
    answers = run_zero_shot(load_method(output, weights), data, entities)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, scores=answers.scores, maps=answers.maps)
    return answers
