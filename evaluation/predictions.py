"""What a network predicts for the images of a dataset. Every prediction is computed once and kept beside the weights.

Tasks share predictions: zero-shot classification and grounding read the same scores and maps. A file of predictions
holds the key of what they are of: the digest of the weights, the data version, the images, the texts, the precision and
the code. The device is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.dataset import EvaluationDataset, Images
from evaluation.errors import NotAvailableError
from evaluation.tasks.base import NAME
from models.compute import AUTOMATIC, Compute
from models.errors import ModelError
from models.run_files import CARD, TRAINED, UNTRAINED, expect_recorded
from store.arrays import keep_arrays
from store.code import code_version
from store.digests import fingerprint, known_digest

if TYPE_CHECKING:
    from evaluation.inference import Predict, ZeroShotOutput
    from models.method import Method
    from tracking.runs import TrainedRun

WEIGHTS = ("trained", "untrained")
FILES = {"trained": TRAINED, "untrained": UNTRAINED}
FOLDER = "predictions"  # beside the weights


class Predictions:
    """The predictions of a network of a finished run, `trained` or `untrained`, for the images of a dataset."""

    def __init__(
        self,
        dataset: EvaluationDataset,
        run: TrainedRun,
        weights: str,
        log: Callable[[str], object],
        compute: Compute = AUTOMATIC,
    ) -> None:
        self.dataset, self.run, self.weights, self.log = dataset, run, weights, log
        self.compute = compute.resolve()
        self.reads: set[str] = set()  # files that were read or written, relative to the home
        self._loaded: list[Method] = []  # the network, once it is needed

    def of_view(self, view: str) -> Predictions:
        """The predictions of the same network for the images of another view of the dataset."""
        other = copy(self)
        other.dataset = self.dataset.of_view(view)
        return other

    @property
    def method(self) -> Method:
        """The network itself, on its device."""
        from models.saved import load_method

        if not self._loaded:
            self._loaded.append(self.compute.place(load_method(self._home / self.run.output, self.weights)))
        return self._loaded[0]

    @property
    def digest(self) -> str:
        """Digest of the weights, as the run recorded it."""
        return self.run.checkpoint_digest if self.weights == "trained" else self.run.untrained_digest

    def expect_weights(self) -> None:
        """Compare the weights and the card of the network with what the run recorded, once in a process.

        Raises:
            DamageError: they differ, or are missing.
            ModelError: they are of another run than results are stored for.
        """
        folder = self._home / self.run.output
        path = expect_recorded(folder / FILES[self.weights])
        expect_recorded(folder / CARD)
        if known_digest(path) != self.digest:
            raise ModelError(
                f"{path} is of another run than the one that was finished last; give the command that trained it again."
            )

    def zero_shot(self, split: str, ask: str = NAME) -> ZeroShotOutput:
        """Scores and maps of the dataset's queries for the images of a split.

        With `ask` a description, what is known of each finding stands in the place of its name. NotAvailableError for
        a method that reads descriptions anyway.
        """
        from evaluation.inference import ZeroShotOutput, bind_queries

        images, dataset = self.dataset.images(split), self.dataset
        if not len(images) or not dataset.queries:
            empty = np.zeros((len(images), len(dataset.queries)), np.float32)
            return ZeroShotOutput(empty, empty[..., None, None])

        def prepare(method: Method) -> Predict:
            if ask == NAME:
                return bind_queries(method, dataset.query_texts(method.query_kind))
            if method.query_kind != "label":
                raise NotAvailableError(f"{self.run.name} asks for findings by their descriptions anyway.")
            return bind_queries(method, dataset.query_texts(ask))

        asked = [] if ask == NAME else [dataset.query_texts(ask)]
        details = [dataset.queries, dataset.query_texts("entity"), *asked]
        return ZeroShotOutput(*self._predict("zero_shot", images, prepare, details))

    def features(self, images: Images) -> np.ndarray:
        """(images, dim) frozen features of the image encoder."""
        if not len(images):
            return np.empty((0, 0), np.float32)
        (features,) = self._predict("features", images, lambda method: lambda batch: [method.image_features(batch)])
        return features

    def embeddings(self, images: Images) -> np.ndarray:
        """(images, dim) vectors in the space that images share with texts."""
        (vectors,) = self._predict("embeddings", images, lambda method: lambda batch: [method.embed_images(batch)])
        return vectors

    def similarities(self, images: Images, texts: Sequence[str]) -> np.ndarray:
        """(images, texts), higher = better match."""
        (similarities,) = self._predict(
            "similarities", images, lambda method: lambda batch: [method.similarity(batch, texts)], texts
        )
        return similarities

    def phrase_maps(self, images: Images, phrases: Sequence[str]) -> np.ndarray:
        """(images, rows, columns): where each phrase points in its own image."""

        def prepare(method: Method) -> Predict:
            rest = iter(phrases)
            return lambda batch: [method.phrase_maps(batch, list(islice(rest, len(batch))))]

        (maps,) = self._predict("phrases", images, prepare, list(phrases))
        return maps

    @property
    def visible_side(self) -> int | None:
        """Side of the middle of an image that the network sees, in pixels of the shards; None: all of it."""
        side = self.dataset.reader.manifest.size
        return self.method.size if self.method.fit == "crop" and self.method.size < side else None

    @property
    def _home(self) -> Path:
        return self.dataset.workspace.home_path()

    def _predict(
        self, kind: str, images: Images, prepare: Callable[[Method], Predict], details: object = None
    ) -> list[np.ndarray]:
        """The arrays that the function from `prepare` gives for `images`, computed or read."""
        from evaluation.inference import predict_batches

        self.expect_weights()
        key = {
            "weights": self.digest,
            "kind": kind,
            "data_version": self.dataset.reader.manifest.digest,
            "split": images.split,
            "rows": fingerprint(images.rows.tolist()),
            "details": fingerprint(details),
            "precision": self.compute.precision,
            "code": prediction_code(self.run.method),
        }
        name = f"{self.weights}-{kind}-{images.split}-{fingerprint(key)}.npz"

        def compute() -> list[np.ndarray]:
            cohort = self.dataset.workspace.cohort_name()
            self.log(f"Predicting {kind} of {len(images)} images of {cohort} with the {self.weights} network.")
            return predict_batches(self.method, images.pixels, prepare(self.method))

        path = Path(self.run.output, FOLDER, name)
        self.reads.add(path.as_posix())
        return keep_arrays(self._home / path, key, compute, self.log)


def prediction_code(method: str) -> str:
    """Version of the code that decides what a network of `method` predicts."""
    from models.registry import evaluated_modules

    return code_version(__name__, *evaluated_modules(method))
