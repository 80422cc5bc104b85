"""A pretrained network that somebody can use: images and words in, scores, maps and vectors out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.dataset import knowledge
from evaluation.inference import bind_queries, predict_batches
from models.compute import AUTOMATIC, Compute
from models.run_files import TRAINED, UNTRAINED
from models.saved import ModelCard, load_method
from radalign.errors import RadalignError, UnknownFindingWarning, one_sentence
from radalign.images import Images, read_films, read_images
from store.digests import known_digest
from tracking.runs import TrainedRun

if TYPE_CHECKING:
    import pandas as pd

    from models.method import Method


@dataclass(frozen=True)
class ZeroShotPrediction:
    """Scores and maps of labels over images."""

    labels: tuple[str, ...]
    scores: np.ndarray  # (images, labels) in 0..1; a higher score means that the label is more likely present
    maps: np.ndarray  # (images, labels, rows, columns), non-negative: where in the square image each label points

    def to_frame(self) -> pd.DataFrame:
        """The scores as a table: a row per image, a column per label."""
        import pandas as pd

        return pd.DataFrame(self.scores, columns=list(self.labels))


class Model:
    """A saved network. `radalign.load` opens one."""

    def __init__(self, folder: Path, weights: str = "trained", compute: Compute = AUTOMATIC) -> None:
        """`folder` is that of a finished run; `weights` are `trained`, `untrained` or a file in the folder."""
        self.folder, self.weights, self.compute = folder, weights, compute

    def __repr__(self) -> str:
        return f"radalign.Model({str(self.folder)!r}, weights={self.weights!r})"

    @cached_property
    def card(self) -> ModelCard:
        """Method, settings and image size of the network."""
        with one_sentence():
            return ModelCard.load(self.folder)

    @cached_property
    def network(self) -> Method:
        """The torch module, on its device."""
        with one_sentence():
            return self.compute.place(load_method(self.folder, self.weights))

    @property
    def digest(self) -> str:
        """SHA-256 of the file of weights."""
        names = {"trained": TRAINED, "untrained": UNTRAINED}
        with one_sentence():
            return known_digest(self.folder / names.get(self.weights, self.weights))

    @property
    def run(self) -> TrainedRun:
        """The finished training run that the network is from."""
        with one_sentence():
            return TrainedRun.of_folder(self.folder)

    def read(self, images: Images) -> np.ndarray:
        """(n, size, size) uint8: the images as they would stand in the shards that the network was trained on."""
        return read_images(images, self.card.shard_size or self.card.size, self.card.decoding)

    def zero_shot(self, images: Images, labels: Sequence[str] | Mapping[str, str]) -> ZeroShotPrediction:
        """Score and locate findings that are named in words, such as `pleural effusion`.

        `labels` are words, or a mapping of label to the words to use for it. A method that encodes any text also scores
        words that name no finding, such as `cat`, and there is an `UnknownFindingWarning`.

        Raises:
            RadalignError: the method has no zero-shot classification, or knows findings by name and not this one; the
                sentence has the nearest.
        """
        words = dict(labels) if isinstance(labels, Mapping) else {label: label for label in _as_texts(labels)}
        queries = []
        for text in words.values():
            query, doubt = self.understand(text)
            queries.append(query)
            if doubt:
                warnings.warn(doubt, UnknownFindingWarning, stacklevel=2)
        return ZeroShotPrediction(tuple(words), *self.ask(images, queries))

    def understand(self, text: str) -> tuple[str, str]:
        """The query that a text is for this network, and a sentence that says why its score may mean nothing, or "".

        RadalignError where the network knows findings by name, and the text is far from all of them.
        """
        return name_finding(text) if self.network.query_kind == "entity" else (text, doubt_of(text))

    def ask(self, images: Images, queries: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (images, queries) and maps (images, queries, rows, columns) of queries of `understand`."""
        scores, maps = self._predict(images, bind_queries(self.network, queries))
        return scores, maps

    def embed_images(self, images: Images) -> np.ndarray:
        """(images, dim) float32 vectors of length 1 in the space that images share with texts."""
        (vectors,) = self._predict(images, lambda pixels: [self.network.embed_images(pixels)])
        return vectors

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dim) float32 vectors of length 1 in the space that images share with texts."""
        import torch

        try:
            with torch.inference_mode(), self.network.autocast():
                vectors: np.ndarray = self.network.embed_texts(_as_texts(texts)).float().cpu().numpy()
        except NotImplementedError as error:
            raise RadalignError(f"{error}.") from None
        return vectors

    def image_features(self, images: Images) -> np.ndarray:
        """(images, dim) float32 features of the image encoder, before any projection."""
        (features,) = self._predict(images, lambda pixels: [self.network.image_features(pixels)])
        return features

    def _predict(self, images: Images, question: Any) -> list[np.ndarray]:
        with one_sentence():
            if not self.card.released:
                return predict_batches(self.network, self.read(images), question)
            parts = [predict_batches(self.network, film[None], question) for film in read_films(images)]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def name_finding(text: str) -> tuple[str, str]:
    """The name, or description, of a finding, and a sentence where it is taken for the nearest one, or "".

    RadalignError for what is far from all of them.
    """
    base = knowledge()
    with one_sentence():
        named = base.query(text)
    match = base.lookup(text)
    return named, "" if match is None or match.exact else f"{base.explain(text)} That is what is scored."


def doubt_of(text: str) -> str:
    """A sentence on a text that names nothing the knowledge base knows, or that denies something; else ""."""
    doubt = knowledge().doubt(text)
    return f"{doubt} The score may mean nothing." if doubt else ""


def _as_texts(texts: Sequence[str] | str) -> list[str]:
    listed = [texts] if isinstance(texts, str) else list(texts)
    if not listed:
        raise RadalignError("There is no text: give at least one.")
    return listed
