"""Which sentences of a report are grounded: those that say a finding is there, where its mask is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evaluation.errors import EvaluationError
from evaluation.truth import Masks


@dataclass(frozen=True)
class Phrases:
    """Sentences, each with the true region of what it says."""

    masks: Masks  # of m sentences: the image, the class and the region of each
    texts: list[str]  # (m,)

    def sample(self, most: int, seed: int = 0) -> Phrases:
        """At most so many of them, drawn at random, in their order; 0: all."""
        if not 0 < most < len(self.texts):
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.texts))[:most])
        masks = Masks(self.masks.rows[kept], self.masks.columns[kept], self.masks.pixels[kept])
        return Phrases(masks, [self.texts[place] for place in kept])


def phrases_of(
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
    said = {(row["study_id"], row["entity"]): row["sentence_min"] for row in first.to_pylist()}
    pairs = list(zip(masks.rows.tolist(), masks.columns.tolist(), strict=True))
    places = [said.get((study_ids[row], entities[column])) for row, column in pairs]
    kept = np.flatnonzero([place is not None for place in places])
    if any(places[index] >= len(sentences[pairs[index][0]]) for index in kept):
        raise EvaluationError(
            "The triplets point at sentences that the reports do not have: parse the reports again, without a RadGraph "
            "file, whose sentences are its own."
        )
    texts = [sentences[pairs[index][0]][places[index]]["text"] for index in kept]
    return Phrases(Masks(masks.rows[kept], masks.columns[kept], masks.pixels[kept]), texts)
