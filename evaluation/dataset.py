"""What evaluation reads of a dataset: its images in the shards, with labels, regions, boxes and label fractions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cohorts.dataset import Dataset
from evaluation.errors import EvaluationError
from evaluation.metrics.truth import Masks, select_masks
from evaluation.metrics.units import VIEWS
from imaging.dicom.views import FRONTAL
from store import batches
from store.digests import fingerprint
from store.seals import expect_intact

if TYPE_CHECKING:
    from ingestion.workspace import Workspace
    from report_parsing.knowledge.base import KnowledgeBase
    from shards.reader import ShardReader


class _Stored(Protocol):
    """The pixels of a whole split, in files or in memory."""

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The pixels of `rows`."""


@dataclass(frozen=True)
class Images:
    """A chosen set of images and what is known of each. Their pixels are read when they are indexed."""

    split: str
    rows: np.ndarray  # (n,) places in the split
    image_ids: np.ndarray  # (n,)
    study_ids: np.ndarray  # (n,)
    subjects: np.ndarray  # (n,) patients
    labels: pa.Array  # (n,) maps of label -> value
    stored: _Stored

    @classmethod
    def of_array(cls, pixels: np.ndarray, subjects: np.ndarray) -> Images:
        """Images (n, size, size) uint8 in memory, each of its own study, and their patients (n,)."""
        if len(pixels) != len(subjects):
            raise EvaluationError(f"{len(pixels)} images and {len(subjects)} patients do not fit together.")
        rows = np.arange(len(subjects))
        names = rows.astype(str)
        return cls("", rows, names, names, subjects, pa.nulls(len(rows)), _InMemory(pixels))

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, places: np.ndarray) -> Images:
        """Those at `places`, which are indices or a mask."""
        kept = np.arange(len(self))[places]
        return replace(
            self,
            rows=self.rows[kept],
            image_ids=self.image_ids[kept],
            study_ids=self.study_ids[kept],
            subjects=self.subjects[kept],
            labels=self.labels.take(pa.array(kept)),
        )

    @property
    def pixels(self) -> _Pixels:
        """(n, size, size) uint8, read as it is sliced or indexed."""
        return _Pixels(self)


@dataclass(frozen=True)
class _Pixels:
    """The pixels of images, as something that can be indexed like an array."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.images.stored.read(self.images.rows[part])


@dataclass(frozen=True)
class _InMemory:
    pixels: np.ndarray

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The pixels of `rows`."""
        return self.pixels[rows]


class EvaluationDataset:
    """A dataset as evaluation reads it, the same for every network. What is read is kept.

    Its images are those of a `view`, one of evaluation.metrics.units.VIEWS.
    """

    def __init__(self, workspace: Workspace, facts: Dataset | None = None, view: str = FRONTAL) -> None:
        """`facts` say what the labels mean; without them all labels are read as they are."""
        self.workspace, self.view = workspace, view
        self.facts = facts or Dataset(workspace.cohort_name())
        self._masks: dict[tuple[str, ...], Masks] = {}
        self._of_view: dict[str, EvaluationDataset] = {view: self}

    def of_view(self, view: str) -> EvaluationDataset:
        """The same dataset with the images of another view."""
        if view not in self._of_view:
            self._of_view[view] = EvaluationDataset(self.workspace, self.facts, view)
        return self._of_view[view]

    @cached_property
    def reader(self) -> ShardReader:
        """Its shards; EvaluationError for a pool, whose members are datasets."""
        from shards.reader import ShardReader

        if self.workspace.is_pool:
            raise EvaluationError(
                f"{self.workspace.cohort_name()} is several datasets; name one of them for this, by --cohort or by "
                "RADALIGN_COHORT."
            )
        return ShardReader(self.workspace.folder("shards"))

    @cached_property
    def queries(self) -> dict[str, str]:
        """The labels of zero-shot tasks, with the words that are used for each."""
        if self.facts.zero_shot is not None:
            return dict(self.facts.zero_shot)
        return {label: label for label in observation_labels(self.workspace)}

    @property
    def query_labels(self) -> list[str]:
        """The labels of zero-shot tasks."""
        return list(self.queries)

    def query_texts(self, kind: str) -> list[str]:
        """The queries as a method reads them.

        `label`: words; `entity`: an observation's name, or a finding's description; `description`: that of either.
        """
        if kind == "label":
            return list(self.queries.values())
        return [knowledge().query(words, kind == "description") for words in self.queries.values()]

    def images(self, split: str | None) -> Images:
        """All images of a split, or of all splits, of the dataset's view."""
        names = ("image_id", "study_id", "subject_id")
        table = self.reader.columns(split, [*names, "labels"])
        ids, studies, subjects = (table[name].to_numpy() for name in names)
        labels = table["labels"].combine_chunks()
        pixels = self.reader.pixels(split)
        every = Images(split or "", np.arange(len(table)), ids, studies, subjects, labels, pixels)
        return every.select(np.isin(self.reader.kinds(split), VIEWS[self.view]))

    def fraction(self, share: float, repeat: int = 0) -> Images:
        """The train images of a share of the patients; `repeat` 0 is the table `subsets`."""
        from cohorts.subsets import images_of

        train = self.images("train")
        chosen = images_of(self._read_subsets(repeat), share)
        return train.select(pc.is_in(pa.array(train.image_ids, pa.string()), chosen).to_numpy(False))

    def splits(self, share: float, repeat: int = 0) -> tuple[Images, Images, Images]:
        """The train images of a share of the patients, and all of validate and of test."""
        return self.fraction(share, repeat), self.images("validate"), self.images("test")

    def labelled_splits(self, share: float, repeat: int = 0) -> tuple[list[str], Images, Images, Images]:
        """The labels that classifiers learn, and of train, validate and test the images with a known one."""
        from cohorts.labels import label_names

        train, validate, test = self.splits(share, repeat)
        there = set(label_names(self.images("train").labels)) | set(label_names(test.labels))
        names = [name for name in self.facts.classes if name in there] or sorted(there)
        return names, *(self._known(images, names) for images in (train, validate, test))  # type: ignore[return-value]

    def label_values(self, images: Images, names: Sequence[str]) -> np.ndarray:
        """(images, names) 1 present, 0 absent, nan unknown, as the facts read silence and, of train, uncertainty."""
        from cohorts.labels import UNCERTAIN, decide_uncertain, label_matrix

        stated = label_matrix(images.labels, list(names))
        policy = self.facts.uncertain if images.split == "train" else "ignore"
        decided = label_matrix(decide_uncertain(images.labels, policy), list(names))
        return np.where(np.isnan(stated), self.facts.blank, np.where(stated == UNCERTAIN, decided, stated))

    def masks(self, split: str, names: Sequence[str]) -> Masks:
        """The annotated regions of the labels `names` on the images of a split; rows are places in `images`."""
        key = (split, *names)
        if key not in self._masks:
            ids, size = self.images(split).image_ids, self.reader.manifest.size
            self._masks[key] = select_masks(self._read_regions(), ids, list(names), size)
        return self._masks[key]

    def region_labels(self) -> list[str]:
        """Every label that a region has, sorted."""
        return sorted(pc.unique(self._read_regions()["label"]).to_pylist())

    def joined_masks(self, images: Images) -> np.ndarray:
        """(images, size, size) bool: all regions of the facts joined; empty where there is none."""
        found = self.masks(images.split, self.facts.regions)
        size = self.reader.manifest.size
        joined = np.zeros((1 + int(images.rows.max(initial=-1)), size, size), bool)
        rows = self.images(images.split).rows[found.rows]
        kept = np.isin(rows, images.rows)
        np.logical_or.at(joined, rows[kept], found.pixels[kept])
        return joined[images.rows]

    def boxes(self, images: Images) -> list[np.ndarray]:
        """Per image the boxes of the facts' regions, (k, 4) float32 x1 y1 x2 y2 in pixels of the square."""
        from imaging.letterbox import letterbox_box

        wanted = set(images.image_ids.tolist())
        table = self._read("studies", ["image_id", "boxes"])
        listed = {row["image_id"]: row["boxes"] or () for row in table.to_pylist() if row["image_id"] in wanted}
        sizes = self.reader.columns(images.split, ["height", "width"])
        heights, widths = sizes["height"].to_numpy()[images.rows], sizes["width"].to_numpy()[images.rows]
        manifest, found = self.reader.manifest, []
        for name, height, width in zip(images.image_ids.tolist(), heights.tolist(), widths.tolist(), strict=True):
            own = [
                letterbox_box(
                    (box["x"], box["y"], box["width"], box["height"]), height, width, manifest.size, manifest.squash
                )
                for box in listed[name]
                if box["label"] in self.facts.regions
            ]
            corners = np.array(own, np.float32).reshape(-1, 4)
            corners[:, 2:] += corners[:, :2]
            corners = corners.clip(0, manifest.size)  # annotators draw beyond the image
            found.append(corners[(corners[:, 2:] > corners[:, :2]).all(axis=1)])
        return found

    def triplets(self) -> pa.Table:
        """What its reports say, sentence by sentence."""
        return batches.read_batches(self.workspace.folder("triplets"))

    def regions_digest(self) -> str:
        """Digest of all regions and boxes."""
        return (pq.read_schema(self._expect("regions")).metadata or {}).get(b"content", b"").decode()

    def subsets_digest(self, repeat: int = 0) -> str:
        """Digest of the label fractions of a repeat."""
        return _digest_rows(self._read_subsets(repeat))

    def triplets_digest(self) -> str:
        """Digest of what its reports say: the batches of it; empty where reports were not parsed."""
        return fingerprint(batches.read_plan(self.workspace.folder("triplets")).fingerprints())

    def queries_digest(self) -> str:
        """Digest of the labels of zero-shot tasks and their words."""
        return fingerprint(self.queries)

    def _known(self, images: Images, names: Sequence[str]) -> Images:
        if not len(images) or not names:
            return images
        return images.select(~np.isnan(self.label_values(images, names)).all(axis=1))

    def _read_subsets(self, repeat: int) -> pa.Table:
        from cohorts.subsets import subset_table

        if repeat:
            return subset_table(self._read("studies"), repeat)
        if not self._path("subsets").exists():
            raise EvaluationError("There are no label fractions to probe with: materialize the asset `subsets` first.")
        return self._read("subsets")

    def _read_regions(self) -> pa.Table:
        if not self._path("regions").exists():
            raise EvaluationError(
                f"There is no {self._path('regions')}: bring the regions of the dataset up to date first."
            )
        return self._read("regions")

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return pq.read_table(self._expect(name), columns=columns)

    def _expect(self, name: str) -> Path:
        """The file of a table, whose bytes are those that ingestion wrote."""
        return expect_table(self.workspace, name)

    def _path(self, name: str) -> Path:
        return table_path(self.workspace, name)


def table_path(workspace: Workspace, name: str) -> Path:
    """The file of `studies`, `subsets` or `regions`."""
    return workspace.folder(name) / f"{name}.parquet"


def expect_table(workspace: Workspace, name: str) -> Path:
    """The file of `studies`, `subsets` or `regions`; DamageError where its bytes are not those that were written."""
    again = f"`RADALIGN_COHORT={workspace.cohort_name()} dagster job execute -j ingest` makes it again."
    return expect_intact(table_path(workspace, name), again)


def observation_labels(workspace: Workspace) -> dict[str, str]:
    """The dataset's labels that are another name of an observation that the network has learnt: label -> entity."""
    from report_parsing.vocabulary import ENTITIES

    table = pq.read_table(expect_table(workspace, "studies"), columns=["labels"])
    labels = table["labels"].combine_chunks().drop_null()
    names = sorted(pc.unique(labels.keys).to_pylist())
    meanings = entities_of(dict(zip(names, names, strict=True)))
    return {name: entity for name, entity in meanings.items() if entity in ENTITIES}


def _digest_rows(table: pa.Table) -> str:
    """Digest of what a table says, however it is divided and compressed."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def entities_of(labels: Mapping[str, str]) -> dict[str, str]:
    """The observation that each label's words mean, of those that mean one: label -> entity."""
    meanings = {label: knowledge().lookup(words) for label, words in labels.items()}
    return {label: match.name for label, match in meanings.items() if match and match.exact}


@cache
def knowledge() -> KnowledgeBase:
    """The names of the observations, compiled once per process."""
    from report_parsing.knowledge.base import KnowledgeBase

    return KnowledgeBase.default()
