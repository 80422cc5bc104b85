"""Asks a network about films of a cohort. Every answer is computed once and kept beside the weights.

Tasks share them: classification and grounding read the same zero-shot answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.dataset import CohortFilms, Films
from store.atomic import replacing
from store.code import code_version
from store.digests import fingerprint
from tracking.runs import TrainedRun

if TYPE_CHECKING:
    from torch import Tensor

    from evaluation.truth import Truth
    from evaluation.zero_shot import ZeroShotOutput
    from models.method import Method

WEIGHTS = ("trained", "untrained")
KEPT = "answers"  # folder beside the weights
ANSWER_CODE = ("evaluation.inference", "evaluation.zero_shot")


@dataclass(frozen=True)
class Examination:
    """The truth about a split, and what a network says when it is asked about the classes."""

    truth: Truth
    answers: ZeroShotOutput

    def __len__(self) -> int:
        return len(self.truth.subjects)


class Network:
    """A network of a finished run, `trained` or as it was `untrained`, and what it says about a cohort's films."""

    def __init__(self, cohort: CohortFilms, run: TrainedRun, weights: str, log: Callable[[str], None]) -> None:
        self.cohort, self.run, self.weights, self.log = cohort, run, weights, log

    @property
    def classes(self) -> list[str]:
        """The labels that zero-shot tasks ask about."""
        return list(self.cohort.questions)

    @cached_property
    def method(self) -> Method:
        """The network itself."""
        from training.state.checkpoint import load_method

        return load_method(self._home / self.run.output, self.weights)

    def examine(self, split: str) -> Examination:
        """Everything that scoring zero-shot answers about `split` needs."""
        from evaluation.zero_shot import ZeroShotOutput, zero_shot_question

        films, truth = self.cohort.films(split), self.cohort.truth(split, self.classes)
        if not len(films) or not self.classes:
            empty = np.zeros((len(films), len(self.classes)), np.float32)
            return Examination(truth, ZeroShotOutput(empty, empty[..., None, None]))

        def question(method: Method) -> Callable[[Tensor], Sequence[Tensor]]:
            return zero_shot_question(method, self.cohort.queries(method.query_kind))

        details = [self.cohort.questions, self.cohort.queries("entity")]
        return Examination(truth, ZeroShotOutput(*self._ask("zero_shot", films, question, details)))

    def features(self, films: Films) -> np.ndarray:
        """(films, dim) frozen features of the image encoder."""
        if not len(films):
            return np.empty((0, 0), np.float32)
        (features,) = self._ask("features", films, lambda method: lambda images: [method.image_features(images)])
        return features

    def embeddings(self, films: Films) -> np.ndarray:
        """(films, dim) vectors in the space that images share with texts."""
        (vectors,) = self._ask("embeddings", films, lambda method: lambda images: [method.embed_images(images)])
        return vectors

    def similarities(self, films: Films, texts: Sequence[str]) -> np.ndarray:
        """(films, texts), higher = better match."""
        (similarities,) = self._ask(
            "similarities", films, lambda method: lambda images: [method.similarity(images, texts)], texts
        )
        return similarities

    def phrase_maps(self, films: Films, phrases: Sequence[str]) -> np.ndarray:
        """(films, rows, columns): where each phrase points in its own film."""

        def question(method: Method) -> Callable[[Tensor], Sequence[Tensor]]:
            rest = iter(phrases)
            return lambda images: [method.phrase_maps(images, list(islice(rest, len(images))))]

        (maps,) = self._ask("phrases", films, question, list(phrases))
        return maps

    @property
    def seen(self) -> int | None:
        """Side of the middle of a film that the network looks at, in pixels of the shards; None: all of it."""
        side = self.cohort.reader.manifest.size
        return self.method.size if self.method.fit == "crop" and self.method.size < side else None

    @property
    def _home(self) -> Path:
        return self.cohort.workspace.home_path()

    def _ask(
        self,
        kind: str,
        films: Films,
        question: Callable[[Method], Callable[[Tensor], Sequence[Tensor]]],
        details: object = None,
    ) -> list[np.ndarray]:
        """What the network answers to the `question` about each of the `films`, computed or found again."""
        from evaluation.inference import ask

        digest = self.cohort.reader.manifest.digest
        key = fingerprint(
            digest,
            films.split,
            films.rows.tolist(),
            details,
            code_version(*ANSWER_CODE, f"models.methods.{self.run.method}"),
        )
        path = self._home / self.run.output / KEPT / f"{self.weights}-{kind}-{films.split}-{key}.npz"
        if path.exists():
            with np.load(path) as kept:
                return [kept[entry] for entry in kept.files]
        cohort = self.cohort.workspace.cohort_name()
        self.log(f"Asking the {self.weights} network about {len(films)} images of {cohort}: {kind}.")
        answers = ask(self.method, self.cohort.pixels(films), question(self.method))
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, *answers)
        return answers
