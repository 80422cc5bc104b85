"""What a method reads of the reports of a split: texts, findings, both, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from models.method import Batch, Method
from shards.reader import ShardReader
from training.data.targets import ReportTargets
from training.data.texts import ReportTexts, cached_texts


class Reports(Protocol):
    """The reports of a split, as a method reads them."""

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: whether there is anything to read."""

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(rows, ...) what is read of each row in one step."""

    def can_mirror(self, sampled: np.ndarray) -> np.ndarray:
        """(rows,) bool: whether the text can be changed to describe the mirrored image."""

    def build_batch(self, images: Tensor, sampled: np.ndarray, mirrored: np.ndarray) -> Batch:
        """The images with what was sampled of their reports, or where `mirrored` with its mirror image."""


@dataclass(frozen=True)
class NoReports:
    """For methods that read images alone."""

    rows: int

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: all of them."""
        return np.ones(self.rows, bool)

    def sample(self, rows: np.ndarray, _: np.random.Generator) -> np.ndarray:
        """The rows themselves."""
        return rows

    def can_mirror(self, rows: np.ndarray) -> np.ndarray:
        """(rows,) bool: all of them, as nothing describes them."""
        return np.ones(len(rows), bool)

    def build_batch(self, images: Tensor, _: np.ndarray, __: np.ndarray) -> Batch:
        """The images alone."""
        return Batch(images)


@dataclass(frozen=True)
class TextsAndTargets:
    """For methods that read a text and the findings of the image and of this text."""

    texts: ReportTexts
    targets: ReportTargets

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: those with a text; a report may name no finding."""
        return self.texts.readable

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(rows, texts) the places of the texts."""
        return self.texts.sample(rows, rng)

    def can_mirror(self, places: np.ndarray) -> np.ndarray:
        """(rows,) bool: whether both have a mirror image."""
        return self.texts.can_mirror(places) & self.targets.can_mirror(self.texts.owners(places))

    def build_batch(self, images: Tensor, places: np.ndarray, mirrored: np.ndarray) -> Batch:
        """The images with token ids, with the findings of the reports, and with those of the texts."""
        rows, sentences = self.texts.owners(places), self.texts.sentences[places[:, 0]]
        batch = self.texts.build_batch(images, places, mirrored)
        of_text = self.targets.matrices(rows, mirrored, sentences)
        return replace(batch, targets=self.targets.matrices(rows, mirrored), text_targets=of_text)


def read_reports(reader: ShardReader, split: str, method: Method, mirrored: bool, cache: Path, made_by: str) -> Reports:
    """What `method` reads of a split; `cache` keeps its token ids. With `mirrored`, also of mirrored images."""
    targets = None
    if method.reads_targets:
        triplets = reader.columns(split, ["triplets"])["triplets"]
        targets = ReportTargets(triplets, reader.manifest.entities, reader.manifest.positions)
    if method.texts is None:
        return targets or NoReports(len(reader.columns(split, ["image_id"])))
    texts = cached_texts(cache, lambda: reader.columns(split, ["sentences"]), method.texts, mirrored, made_by)
    if targets is None:
        return texts
    targets.expect_sentences()
    return TextsAndTargets(texts, targets)
