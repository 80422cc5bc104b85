"""Small random source tables for shards, by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cohorts.tables import STUDIES
from report_parsing.tables import REPORTS, TRIPLETS
from shards.writer import build_shard, write_manifest, write_shard

ENTITIES = ("normal", "effusion", "nodule")
POSITIONS = ("left_lung", "right_lung", "unspecified")
SENTENCES = ("Heart size is\n normal.", "No effusion.", "A nodule à droite.")


@dataclass
class Sources:
    """The arguments of `build_shard`."""

    studies: pa.Table
    images: pa.Table
    reports: pa.Table
    triplets: pa.Table
    entities: tuple[str, ...]
    positions: tuple[str, ...]
    size: int

    def build(self) -> pa.Table:
        return build_shard(**{field.name: getattr(self, field.name) for field in fields(self)})


def make_sources(rows: int, size: int = 4, seed: int = 0, prefix: str = "") -> Sources:
    """`rows` images, two to a study, three to a patient, shuffled differently in every table."""
    rng = np.random.default_rng(seed)
    ids = [f"{prefix}i{row:05d}" for row in range(rows)]
    splits = [("train", "validate", "test")[row // 3 % 3] for row in range(rows)]
    labels = [[("effusion", float(row % 2)), ("nodule", -1.0)][: row % 3] or None for row in range(rows)]
    studies = [
        {
            "cohort": "toy",
            "subject_id": f"{prefix}p{row // 3}",
            "study_id": f"{prefix}s{row // 2}",
            "image_id": ids[row],
            "image_path": "a.png",
            "view": "PA",
            "split": splits[row],
            "labels": labels[row],
        }
        for row in rng.permutation(rows)
    ]
    order = rng.permutation(rows)
    pixels = rng.integers(0, 256, (rows, size * size), dtype=np.uint8)
    images = pa.table(
        {
            "image_id": pa.array([ids[row] for row in order], pa.string()),
            "height": pa.array(100 + order, pa.int32()),
            "width": pa.array(200 + order, pa.int32()),
            "pixels": pa.array([pixels[row].tobytes() for row in order], pa.binary(size * size)),
        }
    )
    reports, triplets = [], []
    for study in rng.permutation((rows + 1) // 2):
        said = [SENTENCES[i] for i in rng.integers(0, 3, rng.integers(0, 4))]
        starts = np.cumsum([0, *(len(s) + 1 for s in said)])
        name = f"{prefix}s{study}"
        reports.append(
            {
                "cohort": "toy",
                "study_id": name,
                "report": " ".join(said),
                "text": f"text of {name}",
                "sentences": [
                    {"section": "findings", "start": start, "end": start + len(s), "text": s}
                    for start, s in zip(starts, said, strict=False)
                ],
            }
        )
        for index, _ in enumerate(said):
            triplets.append(
                {
                    "study_id": name,
                    "sentence": index,
                    "entity": ENTITIES[rng.integers(3)],
                    "position": POSITIONS[rng.integers(3)],
                    "exists": ("present", "absent", "uncertain")[rng.integers(3)],
                    "start": int(starts[index]),
                    "end": int(starts[index]) + 2,
                }
            )
    return Sources(
        pa.Table.from_pylist(studies, STUDIES),
        images,
        pa.Table.from_pylist(reports, REPORTS),
        pa.Table.from_pylist([triplets[i] for i in rng.permutation(len(triplets))], TRIPLETS),
        ENTITIES,
        POSITIONS,
        size,
    )


@pytest.fixture(scope="session")
def sources() -> Callable[..., Sources]:
    return make_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards of 700 and 5 rows with their manifest."""
    paths = []
    for name, rows in (("a", 700), ("b", 5)):
        paths.append(tmp_path / f"{name}.parquet")
        write_shard(make_sources(rows, prefix=name).build(), paths[-1])
    write_manifest(tmp_path, paths, ENTITIES, POSITIONS, 4, "toy")
    return tmp_path
