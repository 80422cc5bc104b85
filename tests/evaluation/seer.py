"""A tiny cohort whose findings are bright quarters, and a method that sees quarters."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from cohorts.subsets import subset_table
from cohorts.tables import STUDIES
from evaluation.dataset import EvaluationDataset
from evaluation.predictions import Predictions
from evaluation.tasks.text_image_retrieval import read_queries
from ingestion.tables.regions import update_regions
from models.method import Method, ZeroShot
from models.run_files import CARD, DIGESTS, RESULT, TRAINED, UNTRAINED
from report_parsing.tables import TRIPLETS
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store import batches
from store.digests import file_digest
from store.seals import write_sealed_json, write_sealed_table
from tracking.runs import TrainedRun

LABELS = ("Edema", "Pleural Effusion", "Pneumothorax")
WORDS = ("edema", "effusion", "pneumothorax")
SENTENCES = {sentence: place for place, word in enumerate(WORDS) for sentence in read_queries()[word]}
QUARTERS = {label: place for place, label in enumerate(LABELS)} | SENTENCES  # what each text asks for
SIZE, IMAGES = 8, 240
GREY = 0.2  # between a dark and a bright quarter
FILES = {TRAINED: b"trained weights", UNTRAINED: b"untrained weights", CARD: b"{}"}  # of the run; nothing loads them
RUN = TrainedRun(
    "medklip", "f", "run", "", "v", 0, *(hashlib.sha256(FILES[name]).hexdigest() for name in (TRAINED, UNTRAINED))
)


def direction(text):
    """(4,) of the quarters that a text asks for; those that a report does not name should be dark."""
    if text in QUARTERS:
        return torch.eye(4)[QUARTERS[text]]
    named = torch.tensor([word in text.lower() for word in WORDS] + [False])
    return named.float() - (~named).float()


class Seer(Method):
    """Knows which quarter of an image is bright; counts how many images it was shown."""

    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))
        self.shown = 0

    def image_features(self, images):
        self.shown += len(images)
        return torch.nn.functional.avg_pool2d(images.float(), SIZE // 2).flatten(1) / 255

    def similarity(self, images, texts):
        return (self.image_features(images) - GREY) @ torch.stack([direction(text) for text in texts]).T

    def zero_shot(self, images, queries):
        scores = GREY + self.similarity(images, queries)
        return ZeroShot(scores, self.image_features(images).unflatten(1, (1, 2, 2)).expand(-1, len(queries), -1, -1))

    def phrase_maps(self, images, phrases):
        return (1 + torch.stack([direction(phrase) for phrase in phrases])).unflatten(1, (2, 2))


class Mute(Method):
    def __init__(self):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))


def image(index):
    rng = np.random.default_rng(index)
    present = rng.random(3) < 0.4
    found = np.flatnonzero(present).tolist()
    said = [f"There is {WORDS[place]}." for place in found]
    pixels = rng.integers(0, 40, (SIZE, SIZE), dtype=np.uint8)
    for column in np.flatnonzero(present):
        row, half = divmod(int(column), 2)
        pixels[4 * row : 4 * row + 4, 4 * half : 4 * half + 4] += 60
    return {
        "cohort": "phantom", "image_id": f"i{index:04d}", "study_id": f"s{index:04d}", "subject_id": f"p{index // 2}",
        "split": ("train", "validate", "test", "train")[index // 2 % 4], "view": "PA", "image_path": "a.png",
        "height": SIZE, "width": SIZE, "pixels": pixels.tobytes(), "text": " ".join(said) or "Normal.",
        "sentences": [{"section": "findings", "text": sentence} for sentence in said], "triplets": [],
        "labels": list(zip(LABELS, present.astype(float), strict=True)),
        "shapes": [
            {"label": LABELS[place], "kind": "rectangle", "points": [left, top, left + 4, top + 4]}
            for place in found
            for left, top in [(4 * (place % 2), 4 * (place // 2))]
        ],
    }  # fmt: skip


def triplets(row):
    """What its sentences say."""
    said = [label for label, value in row["labels"] if value]
    blank = {"study_id": row["study_id"], "position": "unspecified", "exists": "present", "start": 0, "end": 1}
    return [{**blank, "sentence": place, "entity": WORDS[LABELS.index(label)]} for place, label in enumerate(said)]


def write_run(workspace, weights=FILES[TRAINED]):
    """The files of the run, with these trained weights; returns what is remembered of it."""
    folder = workspace.home_path() / RUN.output
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**FILES, TRAINED: weights}.items():
        (folder / name).write_bytes(content)
    digests = {entry: file_digest(folder / name) for entry, name in DIGESTS.items() if name in FILES}
    write_sealed_json(folder / RESULT, digests)
    return replace(RUN, checkpoint_digest=digests["checkpoint_digest"])


def build(workspace):
    """Its studies, subsets and shards, and a run."""
    write_run(workspace)
    write_tables(workspace, [image(index) for index in range(IMAGES)])


def write_tables(workspace, rows, name="a"):
    """Studies, subsets and shards of these images, in a shard of this name."""
    studies = pa.Table.from_pylist([{name: row.get(name) for name in STUDIES.names} for row in rows], schema=STUDIES)
    write_sealed_table(studies, workspace.folder("studies") / "studies.parquet")
    write_sealed_table(subset_table(studies), workspace.folder("subsets") / "subsets.parquet")
    spoken = pa.Table.from_pylist([triplet for row in rows for triplet in triplets(row)], schema=TRIPLETS)
    write_sealed_table(spoken, batches.output_path(workspace.folder("triplets"), "0" * 20))
    batches.commit(workspace.folder("triplets"), batches.Plan((batches.Batch("all", "0" * 20),)))
    folder = workspace.folder("shards")
    folder.mkdir(parents=True, exist_ok=True)
    names = shard_schema(SIZE).names
    shard = pa.Table.from_pylist([{name: row[name] for name in names} for row in rows], schema=shard_schema(SIZE))
    write_shard(shard, folder / f"{name}.parquet")
    batches.commit(folder, batches.Plan((batches.Batch("all", name),)))
    write_manifest(folder, [folder / f"{name}.parquet"], WORDS, ("unspecified",), SIZE, "phantom")
    update_regions(workspace)


def predictions_of(workspace, weights="trained"):
    return Predictions(EvaluationDataset(workspace), RUN, weights, lambda line: None)
