"""Which images of a split are trained on: those of the chosen views, and of a study all, or one at a time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np

from shards.pool_reader import Reader, cohorts_of
from training.errors import TrainingError

logger = logging.getLogger(__name__)


class Images:
    """Pairs that are an image each."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows  # (pairs,) of the split

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, pairs: np.ndarray, _: np.random.Generator) -> np.ndarray:
        """The rows of `pairs`."""
        return self.rows[pairs]


class Studies:
    """Pairs that are a study each, whose image is another one every time."""

    def __init__(self, rows: np.ndarray, studies: np.ndarray) -> None:
        """`studies` (rows,) names the study of each of the `rows`."""
        names, study = np.unique(studies, return_inverse=True)
        self._sorted = rows[np.argsort(study, kind="stable")]
        self._counts = np.bincount(study, minlength=len(names))
        self._starts = np.cumsum(self._counts) - self._counts

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def rows(self) -> np.ndarray:
        """(pairs,) the first image of each study."""
        return self._sorted[self._starts]

    def draw(self, pairs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An image of each study of `pairs`, every one as likely."""
        return self._sorted[self._starts[pairs] + rng.integers(self._counts[pairs])]


def group_pairs(reader: Reader, split: str, rows: np.ndarray, pair: str) -> Images | Studies:
    """The `rows` of a split as pairs; `pair` is `image` or `study`."""
    if pair == "image":
        return Images(rows)
    table = reader.columns(split, ["subject_id", "study_id"])
    keys = zip(cohorts_of(reader, split), *(table[name].to_pylist() for name in table.column_names), strict=True)
    names = np.array(["\n".join(key) for key in keys], dtype=str)
    return Studies(rows, names[rows])


def expect_views(reader: Reader, split: str, views: Sequence[str]) -> None:
    """Raise TrainingError where the split has no image of these views; say so where it lacks some of them."""
    present = Counter(reader.kinds(split).tolist())
    lacking = [kind for kind in views if not present[kind]]
    if not present or not lacking:
        return
    how = "`inventory: {views: [frontal, lateral, unknown]}` takes all that the archive has"
    if len(lacking) == len(views):
        raise TrainingError(
            f"training option `views` asks for {_join(views)} images, of which {reader.folder} has none in {split}; "
            f"set `views` to {'+'.join(sorted(present))}, or ingest others: {how}"
        )
    logger.warning("There are no %s images to train on in %s: %s.", _join(lacking), reader.folder, how)


def _join(views: Sequence[str]) -> str:
    return " or ".join(views)
