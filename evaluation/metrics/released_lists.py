"""CheXpert 8x200 as ConVIRT's authors released it: which images and sentences are queries, and which images are ranked.

The lists are in github.com/yuhaozhang/convirt (cf6add81), without a licence, so they stay with the user. A folder has

    image-retrieval/query.csv       Variable (the category), Path
    image-retrieval/candidate.csv   Path, the labels of CheXpert
    text-retrieval/query.csv        Variable, Text
    text-retrieval/candidate.csv    as the other

A Path is that of CheXpert-v1.0-small, and all images are of its train.csv. Here they may be in any split.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from cohorts.splits import SPLITS
from evaluation.errors import EvaluationError
from evaluation.metrics.values import MACRO, ResultValue
from store.digests import file_digest, fingerprint

if TYPE_CHECKING:
    from evaluation.dataset import EvaluationDataset, Images

COHORT = "chexpert"
IMAGES, TEXTS = "image-retrieval", "text-retrieval"
QUERIES, CANDIDATES = "query.csv", "candidate.csv"
CATEGORY, PATH, TEXT = "Variable", "Path", "Text"
NAMED = 100  # paths that a sentence names at most
LISTS = (
    "Folder with image-retrieval/ and text-retrieval/ of github.com/yuhaozhang/convirt, the released CheXpert 8x200, "
    "which is used on chexpert; empty: our own choice from the test split."
)


@dataclass(frozen=True)
class ListedImages:
    """The images of a list that a dataset has, in the order of the list."""

    categories: np.ndarray  # (n,) index of the category of each
    subjects: np.ndarray  # (n,) patients
    parts: tuple[tuple[Images, np.ndarray], ...]  # images of a split, and their places among the n
    listed: int  # rows of the list
    missing: tuple[str, ...]  # paths of the rows that the dataset has no image of

    def __len__(self) -> int:
        return len(self.categories)

    def predict(self, predict: Callable[[Images], np.ndarray]) -> np.ndarray:
        """(n, k): what `predict` gives for the images of each split (images, k)."""
        found = [(predict(images), places) for images, places in self.parts]
        joined = np.concatenate([values for values, _ in found])
        return joined[np.argsort(np.concatenate([places for _, places in found]))]


def read_image_queries(folder: Path, dataset: EvaluationDataset, categories: Sequence[str]) -> ListedImages:
    """The images that are queries."""
    path = folder / IMAGES / QUERIES
    rows = _read_rows(path, (CATEGORY, PATH))
    return _find(dataset, path, [row[PATH] for row in rows], [categories.index(row[CATEGORY]) for row in rows])


def read_texts(folder: Path) -> list[tuple[str, str]]:
    """Category and sentence of each query."""
    return [(row[CATEGORY], row[TEXT]) for row in _read_rows(folder / TEXTS / QUERIES, (CATEGORY, TEXT))]


def read_categories(folder: Path, part: str) -> list[str]:
    """The categories of the queries, sorted; `part` is IMAGES or TEXTS."""
    return sorted({row[CATEGORY] for row in _read_rows(folder / part / QUERIES, (CATEGORY,))})


def read_candidates(folder: Path, part: str, dataset: EvaluationDataset, categories: Sequence[str]) -> ListedImages:
    """The images that are ranked; EvaluationError where one is not positive for exactly one of the categories."""
    path = folder / part / CANDIDATES
    rows = _read_rows(path, (PATH, *categories))
    positive = np.array([[_is_positive(row[name]) for name in categories] for row in rows])
    if len(wrong := np.flatnonzero(positive.sum(axis=1) != 1)):
        first = rows[wrong[0]][PATH]
        raise EvaluationError(
            f"{path} has {len(wrong)} rows that are not positive for exactly one category, the first {first}."
        )
    return _find(dataset, path, [row[PATH] for row in rows], positive.argmax(axis=1).tolist())


def digest_lists(folder: str) -> str:
    """Digest of the files that are there; empty where no folder is given."""
    paths = [Path(folder, part, name) for part in (IMAGES, TEXTS) for name in (QUERIES, CANDIDATES)] if folder else []
    return fingerprint([file_digest(path) for path in paths if path.exists()]) if folder else ""


def report_missing(log: Callable[[str], object], **lists: ListedImages) -> list[ResultValue]:
    """Name the rows of each list that the dataset has no image of, and count them: `<list>_not_found`, a share."""
    for name, found in lists.items():
        if found.missing:
            rest = f" and {len(found.missing) - NAMED} more" if len(found.missing) > NAMED else ""
            log(
                f"CheXpert 8x200, {name}: {len(found.missing)} of {found.listed} rows are no image of {COHORT} here: "
                f"{', '.join(found.missing[:NAMED])}{rest}."
            )
    return [
        ResultValue(f"{name}_not_found", MACRO, len(found.missing) / found.listed, None, None, found.listed)
        for name, found in lists.items()
    ]


def name_image(path: str) -> str:
    """The image as CheXpert's reader calls it: .../patient00001/study1/view1_frontal.jpg."""
    return "-".join(PurePosixPath(path).with_suffix("").parts[-3:])


def _find(dataset: EvaluationDataset, path: Path, paths: Sequence[str], categories: Sequence[int]) -> ListedImages:
    names = [name_image(one) for one in paths]
    splits = {split: dataset.images(split) for split in SPLITS}
    known = {
        name: (split, place) for split, images in splits.items() for place, name in enumerate(images.image_ids.tolist())
    }
    kept = [row for row, name in enumerate(names) if name in known]
    if not kept:
        raise EvaluationError(
            f"{path}: none of its {len(names)} rows is an image of {COHORT} here, such as {paths[0]}."
        )
    parts, subjects = [], np.empty(len(kept), object)
    for split, images in splits.items():
        places = np.array([place for place, row in enumerate(kept) if known[names[row]][0] == split], np.int64)
        if len(places):
            chosen = images.select(np.array([known[names[kept[place]]][1] for place in places.tolist()]))
            subjects[places] = chosen.subjects
            parts.append((chosen, places))
    missing = tuple(one for one, name in zip(paths, names, strict=True) if name not in known)
    return ListedImages(np.array(categories)[kept], subjects, tuple(parts), len(names), missing)


def _read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise EvaluationError(
            f"There is no {path}: `lists` has to name the folder with {IMAGES}/ and {TEXTS}/ of "
            "github.com/yuhaozhang/convirt."
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for column in columns:
        if not rows or any(row.get(column) is None for row in rows):
            raise EvaluationError(f"{path} needs rows, and the column `{column}` in each of them.")
    return rows


def _is_positive(value: str | None) -> bool:
    try:
        return float(value or 0) == 1
    except ValueError:
        return False
