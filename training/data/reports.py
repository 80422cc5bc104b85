"""What a method reads of the reports of a split: texts, findings, both, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from models.method import Batch, Method
from shards.pool_reader import Reader
from training.data.targets import ReportTargets
from training.data.texts import ReportTexts, cached_texts
from training.data.unpaired import SentencePool, labels_of


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
    pool: SentencePool | None = None  # what rows with findings and without a text borrow from; None: they are left out

    @property
    def readable(self) -> np.ndarray:
        """(rows,) bool: those with a text, whose report may name no finding, and those that borrow one."""
        return self.texts.readable if self.pool is None else self.texts.readable | self.targets.readable

    def sample(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(rows, 1 + texts) the rows and the places of their texts."""
        has_text = self.texts.readable[rows]
        own = self.texts.sample(rows[has_text], rng)
        places = np.empty((len(rows), own.shape[1]), np.int64)
        places[has_text] = own
        if self.pool is not None and not has_text.all():
            places[~has_text, 0] = self.pool.draw(labels_of(self.targets, rows[~has_text]), rng)
        return np.concatenate([rows[:, None], places], 1)

    def can_mirror(self, sampled: np.ndarray) -> np.ndarray:
        """(rows,) bool: whether image and text both have a mirror image."""
        rows, places = sampled[:, 0], sampled[:, 1:]
        owners = self.texts.owners(places)
        return self.texts.can_mirror(places) & self.targets.can_mirror(rows) & self.targets.can_mirror(owners)

    def build_batch(self, images: Tensor, sampled: np.ndarray, mirrored: np.ndarray) -> Batch:
        """The images with token ids, with the findings of the reports, and with those of the texts."""
        rows, places = sampled[:, 0], sampled[:, 1:]
        batch = self.texts.build_batch(images, places, mirrored)
        of_text = self.targets.matrices(self.texts.owners(places), mirrored, self.texts.sentences[places[:, 0]])
        return replace(batch, targets=self.targets.matrices(rows, mirrored), text_targets=of_text)


def read_reports(reader: Reader, split: str, method: Method, mirrored: bool, cache: Path, made_by: str) -> Reports:
    """What `method` reads of a split; `cache` keeps its token ids. With `mirrored`, also of mirrored images."""
    targets = None
    if method.reads_targets:
        triplets = reader.columns(split, ["triplets"])["triplets"]
        vocabulary = reader.manifest.entities, reader.manifest.positions
        targets = ReportTargets(triplets, *vocabulary, method.uncertain)
    if method.texts is None:
        return targets or NoReports(len(reader.columns(split, ["image_id"])))
    texts = cached_texts(cache, lambda: reader.columns(split, ["sentences"]), method.texts, mirrored, made_by)
    if targets is None:
        return texts
    targets.expect_sentences()
    silent = targets.readable & ~texts.readable
    borrowing = method.texts.unpaired and bool(silent.any()) and bool(texts.readable.any())
    return TextsAndTargets(texts, targets, SentencePool.of(texts, targets) if borrowing else None)
