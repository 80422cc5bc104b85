"""Asks a network about films of the cohort. Every answer is computed once and kept beside the weights.

Tasks share them: classification and grounding read the same zero-shot answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets import batches
from assets.training_runs import TrainedRun
from assets.workspace import Workspace
from shards.atomic import replacing
from shards.code_version import code_version

if TYPE_CHECKING:
    from torch import Tensor

    from evaluation.truth import Truth
    from evaluation.zero_shot import ZeroShotOutput
    from models.method import Method
    from report_parsing.knowledge import KnowledgeBase
    from shards.pixels import Pixels
    from shards.reader import ShardData, ShardReader

WEIGHTS = ("trained", "untrained")
KEPT = "answers"  # folder beside the weights
ANSWER_CODE = ("evaluation/inference.py", "evaluation/zero_shot.py", "models")


@dataclass(frozen=True)
class Films:
    """Films of a split and what the cohort says of them; their pixels stay in the shards until they are asked for."""

    split: str
    rows: np.ndarray  # (n,) places in the split
    image_ids: np.ndarray  # (n,)
    subjects: np.ndarray  # (n,)
    labels: pa.Array  # (n,) maps of label -> value

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, places: np.ndarray) -> Films:
        """Those at `places`, which are indices or a mask."""
        kept = np.arange(len(self))[places]
        return replace(
            self,
            rows=self.rows[kept],
            image_ids=self.image_ids[kept],
            subjects=self.subjects[kept],
            labels=self.labels.take(pa.array(kept)),
        )


@dataclass(frozen=True)
class Examination:
    """The images of a split, the truth about them, and what a network says when it is asked about the classes."""

    data: ShardData
    truth: Truth
    answers: ZeroShotOutput


class Network:
    """A network of a finished run, `trained` or as it was `untrained`, and what it says about the cohort's films."""

    def __init__(self, workspace: Workspace, run: TrainedRun, weights: str, log: Callable[[str], None]) -> None:
        self.workspace, self.run, self.weights, self.log = workspace, run, weights, log

    @cached_property
    def classes(self) -> dict[str, str]:
        """What zero-shot tasks ask about: label -> entity."""
        return classes_of(self.workspace)

    def films(self, split: str) -> Films:
        """All films of a split."""
        table = self._reader.columns(split, ["image_id", "subject_id", "labels"])
        ids, subjects = (table[name].to_numpy() for name in ("image_id", "subject_id"))
        return Films(split, np.arange(len(table)), ids, subjects, table["labels"].combine_chunks())

    def examine(self, split: str) -> Examination:
        """Everything that scoring zero-shot answers about `split` needs."""
        from evaluation.truth import load_truth
        from evaluation.zero_shot import ZeroShotOutput, zero_shot_question

        data = self._reader.read(split)
        studies = self.workspace.folder("studies") / "studies.parquet"
        size = self._reader.manifest.size
        truth = load_truth(studies, self.workspace.root(), data.image_ids, list(self.classes), size)
        if not len(data) or not self.classes:
            empty = np.zeros((len(data), len(self.classes)), np.float32)
            return Examination(data, truth, ZeroShotOutput(empty, empty[..., None, None]))

        def question(method: Method) -> Callable[[Tensor], Sequence[Tensor]]:
            asked = self.classes if method.query_kind == "label" else self.classes.values()
            return zero_shot_question(method, list(asked))

        answers = self._ask("zero_shot", self.films(split), question, self.classes)
        return Examination(data, truth, ZeroShotOutput(*answers))

    def features(self, films: Films) -> np.ndarray:
        """(films, dim) frozen features of the image encoder."""
        if not len(films):
            return np.empty((0, 0), np.float32)
        (features,) = self._ask("features", films, lambda method: lambda images: [method.image_features(images)])
        return features

    def similarities(self, films: Films, texts: Sequence[str]) -> np.ndarray:
        """(films, texts), higher = better match."""
        (similarities,) = self._ask(
            "similarities", films, lambda method: lambda images: [method.similarity(images, texts)], texts
        )
        return similarities

    @cached_property
    def _reader(self) -> ShardReader:
        from shards.reader import ShardReader

        return ShardReader(self.workspace.folder("shards"))

    @cached_property
    def _method(self) -> Method:
        from training.checkpoint import load_method

        return load_method(self.workspace.home_path() / self.run.output, self.weights)

    def _ask(
        self,
        kind: str,
        films: Films,
        question: Callable[[Method], Callable[[Tensor], Sequence[Tensor]]],
        details: object = None,
    ) -> list[np.ndarray]:
        """What the network answers to the `question` about each of the `films`, computed or found again."""
        from evaluation.inference import ask

        key = batches.fingerprint(
            self._reader.manifest.digest, films.split, films.rows.tolist(), details, code_version(*ANSWER_CODE)
        )
        name = f"{self.weights}-{kind}-{films.split}-{key}.npz"
        path = self.workspace.home_path() / self.run.output / KEPT / name
        if path.exists():
            with np.load(path) as kept:
                return [kept[entry] for entry in kept.files]
        self.log(f"Asking the {self.weights} network about {len(films)} images: {kind}.")
        pixels = _ChosenPixels(self._reader.pixels(films.split), films.rows)
        answers = ask(self._method, pixels, question(self._method))
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, *answers)
        return answers


class _ChosenPixels:
    """The pixels of some rows, read as they are sliced."""

    def __init__(self, pixels: Pixels, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.pixels.read(self.rows[part])


def classes_of(workspace: Workspace) -> dict[str, str]:
    """The cohort's labels that are another name of an observation that the network has learnt: label -> entity."""
    from report_parsing.vocabulary import ENTITIES

    base = _knowledge()
    table = pq.read_table(workspace.folder("studies") / "studies.parquet", columns=["labels"])
    labels = table["labels"].combine_chunks().drop_null()
    names = pc.unique(labels.keys).to_pylist()
    meanings = {name: base.lookup(name) for name in sorted(names)}
    return {name: match.name for name, match in meanings.items() if match and match.exact and match.name in ENTITIES}


@cache
def _knowledge() -> KnowledgeBase:
    """The names of the observations, compiled once per process: every network and picture asks for the classes."""
    from report_parsing.knowledge import KnowledgeBase

    return KnowledgeBase.default()
