"""Collects what the audit of a network on a dataset is computed from: scores, labels, facts, regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from evaluation.audit.measures.examined import UNKNOWN, Examined, ScoredSplit, band_ages
from evaluation.audit.measures.occlusion import Painted, Score, paint_cue, paint_places
from evaluation.audit.settings import AuditSettings
from evaluation.dataset import EvaluationDataset, Images, entities_of
from evaluation.errors import EvaluationError
from evaluation.metrics.facts import study_facts
from evaluation.predictions import Predictions

SPLITS = ("train", "validate", "test")
FACTS = ("sex", "age", "view", "device", "site")


@dataclass(frozen=True)
class Collected:
    """A dataset with the predictions of a network for it."""

    predictions: Predictions
    settings: AuditSettings

    @property
    def dataset(self) -> EvaluationDataset:
        """The dataset."""
        return self.predictions.dataset

    @cached_property
    def findings(self) -> list[str]:
        """The labels that the network is asked for."""
        return self.dataset.query_labels

    @cached_property
    def images(self) -> dict[str, Images]:
        """All images by split."""
        return {split: self.dataset.images(split) for split in SPLITS}

    @cached_property
    def facts(self) -> dict[str, pa.Table]:
        """What the archive says of the images of each split."""
        return {split: study_facts(self.dataset, images) for split, images in self.images.items()}

    @cached_property
    def cues(self) -> list[str]:
        """Labels that may be shortcuts: those of the settings that the dataset has, or those of support devices."""
        from cohorts.labels import label_names
        from report_parsing.vocabulary import DEVICE_ENTITIES, SUPPORT_DEVICES

        names = sorted({name for images in self.images.values() for name in label_names(images.labels)})
        if self.settings.cues:
            return [name for name in self.settings.cues if name in names]
        meanings = entities_of({name: name for name in names})
        return [name for name in names if meanings.get(name) in DEVICE_ENTITIES or name == SUPPORT_DEVICES]

    def labels(self, split: str, names: Sequence[str]) -> np.ndarray:
        """(images, names) 1 present, 0 absent, nan unknown."""
        return self.dataset.label_values(self.images[split], names)

    def groups(self, split: str) -> dict[str, np.ndarray]:
        """Fact -> the group of each image (n,); facts that the archive does not say are left out."""
        table = self.facts[split]
        found = {name: _texts(table[name]) for name in FACTS if name != "age"}
        ages = np.asarray(table["age"].to_numpy(), np.float64)
        found["age"] = band_ages(ages, self.settings.age_bands)
        return {name: found[name] for name in FACTS if (found[name] != UNKNOWN).any()}

    def examined(self) -> Examined:
        """Scores, labels, patients, groups and cues."""
        scored = {
            split: ScoredSplit(
                np.asarray(self.predictions.zero_shot(split).scores, np.float64),
                self.labels(split, self.findings),
                self.images[split].subjects,
            )
            for split in ("validate", "test")
        }
        cues = dict(zip(self.cues, self.labels("test", self.cues).T, strict=True))
        return Examined(self.findings, scored["validate"], scored["test"], self.groups("test"), cues)

    def paint(self, score: Score) -> Iterator[Painted | str]:
        """The changes of scores by each cue that can be painted over; a sentence for each that cannot."""
        images = self.images["test"]
        for cue in self.cues:
            yield self._paint_cue(cue, images, score)
        chosen = self._choose(np.arange(len(images)))
        if len(chosen):
            yield from paint_places(images.pixels[chosen], chosen, self._frames(chosen), score)

    def _paint_cue(self, cue: str, images: Images, score: Score) -> Painted | str:
        try:
            masks = self.dataset.masks("test", [cue])
            others = self.dataset.masks("test", [name for name in self.findings if name != cue])
        except EvaluationError as error:
            return f"{cue} was not painted over: {error}"
        if not len(masks):
            return f"{cue} was not painted over: the dataset has no masks or boxes of it in the test split."
        kept = np.isin(masks.rows, self._choose(masks.rows))
        rows = masks.rows[kept]
        avoided = np.zeros_like(masks.pixels[kept])
        places = {int(row): place for place, row in enumerate(rows)}
        for row, pixels in zip(others.rows.tolist(), others.pixels, strict=True):
            if row in places:
                avoided[places[row]] |= pixels
        found = paint_cue(cue, images.pixels[rows], rows, masks.pixels[kept], avoided, self._frames(rows), score)
        return found or f"{cue} was not painted over: beside it there is no room for a region to compare with."

    def _choose(self, rows: np.ndarray) -> np.ndarray:
        """At most `occluded` of the rows, the same ones every time."""
        if len(rows) <= self.settings.occluded:
            return rows
        return np.sort(np.random.default_rng(0).choice(rows, self.settings.occluded, replace=False))

    def _frames(self, rows: np.ndarray) -> np.ndarray:
        """(k, size, size) bool: where the test images `rows` lie in their squares."""
        from imaging.letterbox import Frame

        manifest = self.dataset.reader.manifest
        table = self.dataset.reader.columns("test", ["height", "width"])
        places = self.images["test"].rows[rows]
        sizes = np.column_stack([table[name].to_numpy() for name in ("height", "width")])[places]
        found = np.zeros((len(rows), manifest.size, manifest.size), bool)
        for square, (height, width) in zip(found, sizes.tolist(), strict=True):
            Frame.fit(height, width, manifest.size, manifest.squash).cut(square)[...] = True
        return found


def score_with(predictions: Predictions) -> Score:
    """A function that gives the zero-shot scores of images in memory."""
    from evaluation.inference import bind_queries, predict_batches

    method = predictions.method
    predict = bind_queries(method, predictions.dataset.query_texts(method.query_kind))
    return lambda pixels: predict_batches(method, pixels, predict)[0]


def describe_missing_facts(groups: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A sentence for each fact that no gap can be measured by."""
    for fact in FACTS:
        if fact not in groups:
            yield f"Gaps by {fact} were not measured: the archive does not say it, or its reader does not read it."
        elif len(set(groups[fact].tolist()) - {UNKNOWN}) < 2:
            yield f"Gaps by {fact} were not measured: all test images whose {fact} is known have the same."


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Texts without surrounding blanks, in capitals where they are a view or a sex; UNKNOWN for nothing."""
    return np.array([str(value).strip() if value else UNKNOWN for value in column.to_pylist()], dtype=str)
