"""Sentences for images that have none: of another report that shares a finding (Wang et al., MedCLIP, EMNLP 2022).

Sentences are drawn from a table that holds up to so many of each label, so that rare findings are as near as frequent
ones. Labels are 1 present, 0 not mentioned or absent, -1 uncertain; the first one is No Finding. MedCLIP's code makes
the table anew in every epoch; here a run has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.schema import NO_SENTENCE
from training.data.targets import ReportTargets
from training.data.texts import ReportTexts

PER_LABEL = 200  # sentences of a label in the table
SEED = 0  # of the table
AT_ONCE = 4096  # sentences whose findings are looked up at once
Numbers = np.random.Generator | np.random.RandomState


def draw_table(labels: np.ndarray, per_label: int, numbers: Numbers) -> np.ndarray:
    """Up to `per_label` sentences that have a label, for one label after another, each sentence once.

    `labels` (sentences, labels); returns the sentences (table,).
    """
    found: dict[int, None] = {}
    for column in labels.T:
        having = np.flatnonzero(column == 1)
        found |= dict.fromkeys(having[numbers.permutation(len(having))[:per_label]].tolist())
    return np.array(list(found), np.int64)


def draw_sentence(image: np.ndarray, labels: np.ndarray, table: np.ndarray, numbers: Numbers) -> int:
    """The sentence for an image of the labels `image` (labels,), of those with `labels` (sentences, labels).

    One of the `table` (table,) that agrees with the image in a label other than No Finding; else one of the table with
    No Finding, for an image without any label one of all sentences with it; else any of the table. Where an image has
    no label, MedCLIP's code takes the first letter of the sentence for its text.
    """
    of_table = labels[table]
    candidates = table[(of_table[:, 1:] * image[1:] > 0).any(1)]
    if not len(candidates):
        candidates = table[of_table[:, 0] == 1] if image.any() else np.flatnonzero(labels[:, 0] == 1)
    candidates = candidates if len(candidates) else table
    return int(candidates[numbers.permutation(len(candidates))[0]])


@dataclass(frozen=True)
class SentencePool:
    """The table of a split."""

    places: np.ndarray  # (table,) of the sentences in `ReportTexts.owned`
    labels: np.ndarray  # (table, 1 + entities) int8

    @classmethod
    def of(cls, texts: ReportTexts, targets: ReportTargets) -> SentencePool:
        """From the sentences of all reports, those of the same words once."""
        _, places = np.unique(texts.owned, return_index=True)
        places = places[texts.sentences[places] != NO_SENTENCE]
        rows = texts.owners(places[:, None])
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(places), AT_ONCE)]
        labels = [labels_of(targets, rows[part], texts.sentences[places[part]]) for part in parts]
        joined = np.concatenate([labels_of(targets, rows[:0]), *labels])
        table = draw_table(joined, PER_LABEL, np.random.default_rng(SEED))
        return cls(places[table], joined[table])

    def draw(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(images,) places of sentences for images of the labels (images, 1 + entities)."""
        everything = np.arange(len(self.places))
        drawn = [draw_sentence(image, self.labels, everything, rng) for image in images]
        return self.places[np.array(drawn, np.int64)]


def labels_of(targets: ReportTargets, rows: np.ndarray, sentences: np.ndarray | None = None) -> np.ndarray:
    """(rows, 1 + entities) int8: No Finding where no entity is present, then 1 for each that is."""
    stated = (targets.matrices(rows, np.zeros(len(rows), bool), sentences).numpy() == 1).any(1)
    return np.concatenate([~stated.any(1, keepdims=True), stated], 1).astype(np.int8)
