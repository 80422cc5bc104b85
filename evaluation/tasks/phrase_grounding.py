"""Phrase grounding as BioViL does it: where on the image does the map of a sentence lie, given where the finding is?

Boecking et al. (ECCV 2022, arXiv 2204.09817), benchmark MS-CXR. The map of each (image, phrase) pair is smoothed by a
Gaussian on its cells, enlarged bilinearly, and compared with the mask of what the phrase says:

- contrast_to_noise: |mean inside - mean outside| / sqrt(variance inside + variance outside), the paper's, which a map
  that avoids the finding passes as well as one that finds it; contrast_to_noise_signed is below 0 for such a map.
- mean_iou: IoU of the mask with what lies above a level, averaged over the levels 0.1, 0.2, ... 0.5.

Where the regions of a dataset were drawn for phrases of their own (MS-CXR), these are the phrases. Elsewhere they are
the sentences of reports that say that a finding with a region is present.

The paper's levels are those of cosines. Attention has none, so that by default each map is stretched to 0..1 first,
which contrast to noise does not feel.

- pointing_game, pointing_game_chance, precision, recall: those of zero-shot grounding, of the map as it is. Smoothing
  would move the highest point of a thin or curved finding off it.

Means over phrases; a mask that is empty, or lies where the network does not look, counts as missed: 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cohorts.dataset import PHRASES, class_of, phrase_of
from evaluation.dataset import entities_of
from evaluation.errors import EvaluationError
from evaluation.metrics.classification import RESAMPLES, patient_weights, ratio
from evaluation.metrics.grounding import Terms, join_terms, mean_terms, score_pieces, score_pointing, to_values
from evaluation.metrics.map_overlap import Cells, iou, lay_over
from evaluation.metrics.truth import Masks
from evaluation.metrics.values import ResultValue
from evaluation.tasks.base import QUERY_LABELS, REGION_TABLE, TRIPLET_TABLE, Setting, Task
from store.settings import setting as option

if TYPE_CHECKING:
    from evaluation.dataset import EvaluationDataset
    from evaluation.predictions import Predictions

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5)  # BioViL
BLOCK = 64  # pairs that are enlarged at once


@dataclass(frozen=True)
class PhraseGroundingSettings:
    """How a map is read."""

    phrases: int = option(0, "At most so many phrases, chosen at random; 0: all.", least=0)
    smoothing: float = option(1.5, "Sigma of the Gaussian, in cells of the map; 0 leaves the map as it is.", least=0.0)
    cosines: bool = option(
        False, "True: maps are (1 + cosine) / 2, and levels are cosines, as the paper's; False: stretched."
    )
    level: float = option(0.5, "Of a stretched map; above it lies the region that precision and recall are of.")


class PhraseGrounding(Task):
    """Where the sentences of reports point in their images, as in BioViL."""

    name = "phrase_grounding"
    purpose = PHRASES
    only_images = "a region lies on one image."
    leading = "contrast_to_noise"
    selection = "Nothing is chosen: the levels of the regions are set in advance."
    on_pretraining_cohort = True
    reads = (QUERY_LABELS, REGION_TABLE, TRIPLET_TABLE)
    settings = PhraseGroundingSettings

    def score(
        self, predictions: Predictions, setting: Setting, settings: PhraseGroundingSettings
    ) -> Sequence[ResultValue]:
        """Contrast to noise, overlaps and the pointing game, per class and their mean."""
        dataset = predictions.dataset
        images, entities = dataset.images("test"), entities_of(dataset.queries)
        own = [label for label in dataset.region_labels() if phrase_of(label) and class_of(label) in dataset.queries]
        names = list(dataset.queries) if own else list(entities)
        found = read_phrases(dataset, own, names) if own else phrases_of_reports(dataset, entities)
        phrases = found.sample(settings.phrases)
        if not phrases.texts:
            return []
        maps = predictions.phrase_maps(images.select(phrases.masks.rows), phrases.texts)
        return score(maps, phrases.masks, names, images.subjects, settings, predictions.visible_side)


def score(
    maps: np.ndarray,
    masks: Masks,
    classes: Sequence[str],
    subjects: Sequence[str] | np.ndarray,
    settings: PhraseGroundingSettings = PhraseGroundingSettings(),
    seen: int | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[ResultValue]:
    """All metrics of `maps` (m, grid, grid), one per phrase, against `masks` (m,), per class and their mean.

    `masks.rows` index the images, whose patients are `subjects`, and `masks.columns` the `classes`. `seen` is the side
    in pixels of the square in the middle that the network looks at, and the maps cover; None: all of it. A class
    without phrases has rows with value None and is not in the mean.
    """
    if maps.ndim != 3 or len(maps) != len(masks):
        raise EvaluationError(f"Maps {maps.shape} do not fit {len(masks)} phrases.")
    pixels = masks.middle(seen).pixels
    blocks = [slice(start, start + BLOCK) for start in range(0, max(1, len(maps)), BLOCK)]
    terms = join_terms([_terms(maps[block], pixels[block], settings) for block in blocks])
    weights = patient_weights(subjects, resamples, seed)[:, masks.rows]
    return to_values(terms, classes, masks.columns, weights)


def contrast_to_noise(cells: Cells) -> np.ndarray:
    """(m,) signed contrast to noise of masks that cover each cell wholly or not at all.

    0 where a mask covers nothing or everything, and where the values vary neither inside nor outside.
    """
    inside = cells.covered > 0
    rises = cells.values - cells.values.min(axis=1, keepdims=True)  # exactly 0 where all are equal
    (mean, variance), (mean_outside, variance_outside) = (_moments(rises, part) for part in (inside, ~inside))
    contrast = ratio(mean - mean_outside, np.sqrt(variance + variance_outside))
    return np.where(inside.any(axis=1) & ~inside.all(axis=1), contrast, 0.0)


def _terms(maps: np.ndarray, pixels: np.ndarray, settings: PhraseGroundingSettings) -> Terms:
    """Of `maps` (m, grid, grid) and masks (m, side, side) of what the network looks at."""
    places = np.arange(len(maps))
    masks = Masks(places, np.zeros_like(places), pixels)
    cells = lay_over(maps[:, None], masks, normalise=True)
    found = {**score_pointing(cells), **score_pieces(cells.values > settings.level, pixels, cells)}
    cells = lay_over(_enlarged(maps, pixels.shape[-1], settings)[:, None], masks, normalise=not settings.cosines)
    contrast = contrast_to_noise(cells)
    of_mask = {
        "contrast_to_noise": np.abs(contrast),
        "contrast_to_noise_signed": contrast,
        "mean_iou": np.mean([iou(cells.values > level, cells) for level in LEVELS], axis=0),
    }
    return {**mean_terms(of_mask), **found}


def _enlarged(maps: np.ndarray, side: int, settings: PhraseGroundingSettings) -> np.ndarray:
    """Smoothed maps (m, side, side), as cosines where they are."""
    import torch
    import torch.nn.functional as F
    from scipy import ndimage

    lowest = maps.min(axis=(1, 2), keepdims=True)
    rises = maps.astype(np.float64) - lowest  # so that no rounding varies a map that is the same everywhere
    smooth = ndimage.gaussian_filter(rises, (0, settings.smoothing, settings.smoothing))
    enlarged = F.interpolate(torch.from_numpy(smooth)[:, None], (side, side), mode="bilinear")[:, 0].numpy()
    return 2 * (enlarged + lowest) - 1 if settings.cosines else enlarged


def _moments(values: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (m,) of the `part` (m, cells) bool of each row of values; 0 where the part is empty."""
    count = part.sum(axis=1)
    mean = ratio((values * part).sum(axis=1), count)
    return mean, ratio(((values - mean[:, None]) ** 2 * part).sum(axis=1), count)


@dataclass(frozen=True)
class Phrases:
    """Sentences, each with the true region of what it says."""

    masks: Masks  # of m sentences: the image, the class and the region of each
    texts: list[str]  # (m,)

    def sample(self, most: int, seed: int = 0) -> Phrases:
        """At most so many of them, chosen at random, in their order; 0: all."""
        if not 0 < most < len(self.texts):
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.texts))[:most])
        masks = Masks(self.masks.rows[kept], self.masks.columns[kept], self.masks.pixels[kept])
        return Phrases(masks, [self.texts[place] for place in kept])


def read_phrases(dataset: EvaluationDataset, labels: Sequence[str], classes: Sequence[str]) -> Phrases:
    """The phrases of the test images whose regions have the `labels`, each with its class among `classes`."""
    masks = dataset.masks("test", labels)
    columns = np.array([classes.index(class_of(label)) for label in labels], int)
    texts = [phrase_of(labels[place]) for place in masks.columns.tolist()]
    return Phrases(Masks(masks.rows, columns[masks.columns], masks.pixels), texts)


def phrases_of_reports(dataset: EvaluationDataset, entities: Mapping[str, str]) -> Phrases:
    """The phrases of the test images that `find_phrases` finds, of classes (label -> its entity in triplets)."""
    images, masks = dataset.images("test"), dataset.masks("test", list(entities))
    sentences = dataset.reader.columns("test", ["sentences"])["sentences"].take(pa.array(images.rows)).to_pylist()
    return find_phrases(masks, images.study_ids, sentences, dataset.triplets(), list(entities.values()))


def find_phrases(
    masks: Masks,
    study_ids: Sequence[str] | np.ndarray,
    sentences: Sequence[Sequence[Mapping[str, str]]],
    triplets: pa.Table,
    entities: Sequence[str],
) -> Phrases:
    """One phrase per mask: the first sentence of the image's report that says its entity is present.

    A mask whose report never says so has none. `masks` index the images (n,) of `study_ids` and `sentences`, which the
    shards hold, and the classes, of which `entities` are the names in `triplets` (study_id, sentence, entity, exists).
    """
    present = triplets.filter(pc.equal(triplets["exists"], "present"))
    first = present.group_by(["study_id", "entity"]).aggregate([("sentence", "min")])
    stated = {(row["study_id"], row["entity"]): row["sentence_min"] for row in first.to_pylist()}
    pairs = list(zip(masks.rows.tolist(), masks.columns.tolist(), strict=True))
    places: list[Any] = [stated.get((study_ids[row], entities[column])) for row, column in pairs]
    kept = np.flatnonzero([place is not None for place in places])
    if any(places[index] >= len(sentences[pairs[index][0]]) for index in kept):
        raise EvaluationError(
            "The triplets point at sentences that the reports do not have: parse the reports again, without a RadGraph "
            "file, whose sentences are its own."
        )
    texts = [sentences[pairs[index][0]][places[index]]["text"] for index in kept]
    return Phrases(Masks(masks.rows[kept], masks.columns[kept], masks.pixels[kept]), texts)
