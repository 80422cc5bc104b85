"""The films of a cohort's shards and what the cohort says of them: labels, regions, boxes, and label fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.workspace import Workspace
from evaluation.errors import EvaluationError
from store import batches

if TYPE_CHECKING:
    from evaluation.protocol import Protocol
    from evaluation.truth import Truth
    from report_parsing.knowledge.base import KnowledgeBase
    from shards.pixels import Pixels
    from shards.reader import ShardData, ShardReader

UNCERTAIN = -1  # report_parsing.chexpert's


@dataclass(frozen=True)
class Films:
    """Films of a split and what the cohort says of them; their pixels stay in the shards until they are asked for."""

    split: str
    rows: np.ndarray  # (n,) places in the split
    image_ids: np.ndarray  # (n,)
    subjects: np.ndarray  # (n,)
    labels: pa.Array  # (n,) maps of label -> value

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, places: np.ndarray) -> Films:
        """Those at `places`, which are indices or a mask."""
        kept = np.arange(len(self))[places]
        return replace(
            self,
            rows=self.rows[kept],
            image_ids=self.image_ids[kept],
            subjects=self.subjects[kept],
            labels=self.labels.take(pa.array(kept)),
        )


class ChosenPixels:
    """The grey squares of some films, read as they are sliced or indexed."""

    def __init__(self, pixels: Pixels, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.pixels.read(self.rows[part])


class CohortFilms:
    """What evaluation reads of one cohort, the same for every network. Truths are read once."""

    def __init__(self, workspace: Workspace, protocol: Protocol | None = None) -> None:
        from evaluation.protocol import OWN

        self.workspace, self.protocol = workspace, protocol or OWN
        self._truths: dict[tuple[str, ...], Truth] = {}

    @cached_property
    def reader(self) -> ShardReader:
        """Its shards."""
        from shards.reader import ShardReader

        return ShardReader(self.workspace.folder("shards"))

    @cached_property
    def questions(self) -> dict[str, str]:
        """What zero-shot tasks ask about: label -> the words it is asked for with."""
        if self.protocol.zero_shot is not None:
            return dict(self.protocol.zero_shot)
        return {label: label for label in classes_of(self.workspace)}

    def queries(self, kind: str) -> list[str]:
        """The questions as a method understands them: words, or for `entity` an observation's name or description."""
        if kind == "label":
            return list(self.questions.values())
        return [knowledge().query(words) for words in self.questions.values()]

    def films(self, split: str) -> Films:
        """All films of a split."""
        table = self.reader.columns(split, ["image_id", "subject_id", "labels"])
        ids, subjects = (table[name].to_numpy() for name in ("image_id", "subject_id"))
        return Films(split, np.arange(len(table)), ids, subjects, table["labels"].combine_chunks())

    def fraction(self, share: float, draw: int = 0) -> Films:
        """The train films of a share of the patients; every `draw` but 0, the table `subsets`, draws other ones."""
        from cohorts.subsets import films_of, subset_table

        subsets = subset_table(pq.read_table(self._studies), draw) if draw else _subsets(self.workspace)
        train = self.films("train")
        return train.select(pc.is_in(pa.array(train.image_ids), films_of(subsets, share)).to_numpy(False))

    def pixels(self, films: Films) -> ChosenPixels:
        """Their grey squares."""
        return ChosenPixels(self.reader.pixels(films.split), films.rows)

    def data(self, split: str) -> ShardData:
        """Everything the shards hold of a split, pixels included."""
        return self.reader.read(split)

    def label_values(self, films: Films, names: Sequence[str]) -> np.ndarray:
        """(films, names) 1 present, 0 absent, nan unknown, as the protocol reads silence and, of train, uncertainty."""
        from cohorts.labels import decide_uncertain, label_matrix

        said = label_matrix(films.labels, list(names))
        policy = self.protocol.uncertain if films.split == "train" else "ignore"
        decided = label_matrix(decide_uncertain(films.labels, policy), list(names))
        return np.where(np.isnan(said), self.protocol.blank, np.where(said == UNCERTAIN, decided, said))

    def truth(self, split: str, names: Sequence[str]) -> Truth:
        """Labels and masks of a split for `names`."""
        from evaluation.truth import load_truth

        key = (split, *names)
        if key not in self._truths:
            films, sizes = self.films(split), self.reader.columns(split, ["height", "width"])
            shapes = np.column_stack([sizes["height"].to_numpy(), sizes["width"].to_numpy()])
            size, root = self.reader.manifest.size, self.workspace.root()
            truth = load_truth(self._studies, root, films.image_ids, list(names), size, shapes)
            self._truths[key] = replace(truth, labels=self.label_values(films, names))
        return self._truths[key]

    def masks(self, films: Films) -> np.ndarray:
        """(films, size, size) bool: everything the protocol calls a region, joined; empty where there is none."""
        found = self.truth(films.split, self.protocol.regions).masks
        size = self.reader.manifest.size
        joined = np.zeros((1 + int(films.rows.max(initial=-1)), size, size), bool)
        kept = np.isin(found.rows, films.rows)
        np.logical_or.at(joined, found.rows[kept], found.pixels[kept])
        return joined[films.rows]

    def boxes(self, films: Films) -> list[np.ndarray]:
        """Per film the boxes of the protocol's regions, (k, 4) float32 x1 y1 x2 y2 in pixels of the square."""
        from imaging.letterbox import letterbox_box

        wanted = set(films.image_ids.tolist())
        table = pq.read_table(self._studies, columns=["image_id", "boxes"])
        listed = {row["image_id"]: row["boxes"] or () for row in table.to_pylist() if row["image_id"] in wanted}
        sizes = self.reader.columns(films.split, ["height", "width"])
        heights, widths = sizes["height"].to_numpy()[films.rows], sizes["width"].to_numpy()[films.rows]
        size, found = self.reader.manifest.size, []
        for name, height, width in zip(films.image_ids.tolist(), heights.tolist(), widths.tolist(), strict=True):
            own = [
                letterbox_box((box["x"], box["y"], box["width"], box["height"]), height, width, size)
                for box in listed[name]
                if box["label"] in self.protocol.regions
            ]
            corners = np.array(own, np.float32).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            corners = corners.clip(0, size)  # annotators draw beyond the film
            found.append(corners[(corners[:, 2:] > corners[:, :2]).all(axis=1)])
        return found

    def triplets(self) -> pa.Table:
        """What its reports say, sentence by sentence."""
        return batches.read_batches(self.workspace.folder("triplets"))

    @property
    def _studies(self) -> Path:
        return self.workspace.folder("studies") / "studies.parquet"


def classes_of(workspace: Workspace) -> dict[str, str]:
    """The cohort's labels that are another name of an observation that the network has learnt: label -> entity."""
    from report_parsing.vocabulary import ENTITIES

    table = pq.read_table(workspace.folder("studies") / "studies.parquet", columns=["labels"])
    labels = table["labels"].combine_chunks().drop_null()
    names = sorted(pc.unique(labels.keys).to_pylist())
    meanings = entities_of(dict(zip(names, names, strict=True)))
    return {name: entity for name, entity in meanings.items() if entity in ENTITIES}


def entities_of(labels: Mapping[str, str]) -> dict[str, str]:
    """The observation that each label's words mean, of those that mean one: label -> entity."""
    meanings = {label: knowledge().lookup(words) for label, words in labels.items()}
    return {label: match.name for label, match in meanings.items() if match and match.exact}


@cache
def knowledge() -> KnowledgeBase:
    """The names of the observations, compiled once per process: every network and picture asks for them."""
    from report_parsing.knowledge.base import KnowledgeBase

    return KnowledgeBase.default()


def _subsets(workspace: Workspace) -> pa.Table:
    path = workspace.folder("subsets") / "subsets.parquet"
    if not path.exists():
        raise EvaluationError("There are no label fractions to probe with: materialize the asset `subsets` first.")
    return pq.read_table(path)
