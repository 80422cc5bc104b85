"""A tiny archive of shards: images of eight by eight cells in which one entity is a bright square on one side."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from training.config import TrainingConfig

SIZE = 32
ENTITIES = ("effusion", "nodule", "edema", "normal")
POSITIONS = ("left_pleural", "right_pleural", "unspecified", "other", "svc")
TINY = {
    "image_encoder": "resnet10t",
    "image_stage": 1,
    "text_encoder": "all-MiniLM-L6-v2",
    "text_pooling": "mean",
    "width": 16,
    "heads": 2,
    "layers": 1,
    "feed_forward": 32,
    "negatives": 3,
}


def shard_rows(number: int) -> list[dict]:
    rng = np.random.default_rng(0)
    rows = []
    for index in range(number):
        pixels = rng.integers(0, 60, (SIZE, SIZE), dtype=np.uint8)
        left, present = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        if present:
            pixels[8:24, 18:28] = 250 if left else pixels[8:24, 18:28]
            pixels[8:24, 4:14] = pixels[8:24, 4:14] if left else 250
        where = (0 if left else 1) if present else 2
        triplets = [{"entity": 0, "position": where, "exists": int(present), "sentence": 0}]
        said = f"There is a {'left' if left else 'right'} effusion." if present else "There is no effusion."
        split = "test" if index % 8 == 7 else "train"
        rows.append(
            {
                "image_id": f"i{index:04d}", "study_id": f"s{index:04d}", "subject_id": f"p{index:04d}",
                "split": split, "view": "PA", "height": SIZE, "width": SIZE, "pixels": pixels.tobytes(),
                "text": "x", "sentences": [{"section": "findings", "text": said}],
                "triplets": triplets if index % 10 else [],
                "labels": [("effusion", float(present))],
            }
        )  # fmt: skip
    return rows


@pytest.fixture(scope="session", autouse=True)
def descriptions_encoded_once() -> Iterator[None]:
    """Their encoder takes half the time of a tiny training, and gives the same vectors in each."""
    from models.methods.medklip import network  # imports torch, which others that import this file do without

    once = cache(network.embed_texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "embed_texts", lambda name, texts, *options: once(name, tuple(texts), *options).clone())
        yield


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), shard_rows(96))


def write_shards(folder: Path, rows: list[dict]) -> Path:
    """One shard of the rows, and the knowledge table."""
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], ENTITIES, POSITIONS, SIZE, "phantom")
    knowledge = [
        {"kind": kind, "name": name, "description": f"{name} on an image", "source": "test"}
        for kind, names in (("entity", ENTITIES), ("position", POSITIONS))
        for name in names
    ]
    pq.write_table(pa.Table.from_pylist(knowledge), folder / "knowledge.parquet")
    return folder


@pytest.fixture
def config(shards: Path, tmp_path: Path) -> TrainingConfig:
    return tiny_config(shards, tmp_path / "run")


def tiny_config(shards: Path, output: Path) -> TrainingConfig:
    """Twelve steps of a tiny network."""
    return TrainingConfig(
        method="medklip",
        shards=str(shards),
        knowledge=str(shards / "knowledge.parquet"),
        output=str(output),
        method_config=TINY,
        batch_size=8,
        max_steps=12,
        warmup_epochs=0.2,
        learning_rate=1e-3,
        checkpoint_every=4,
        log_every=2,
        threads=1,
    )
