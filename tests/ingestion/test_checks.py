from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cohorts.tables import REJECTS, STUDIES
from ingestion import inventory
from ingestion.checks import check_shards, check_studies, sample_images
from ingestion.tables.subsets import split_usable
from report_parsing.vocabulary import ENTITIES, POSITIONS
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store import batches
from store.batches import Batch, Plan
from store.seals import seal, write_sealed_table

SIZE = 8
NAME = "1" * 20
TRIPLETS = ({"entity": 1, "position": 0, "exists": 1, "sentence": 0},)


def study(image, subject="p1", split="train"):
    return {
        "cohort": "phantom",
        "subject_id": subject,
        "study_id": f"s-{image}",
        "image_id": image,
        "image_path": f"{image}.dcm",
        "view": "PA",
        "split": split,
    }


def reject(image, stage):
    row = {"cohort": "phantom", "image_id": image, "study_id": f"s-{image}", "source_path": f"{image}.dcm"}
    return {**row, "stage": stage, "reason": f"bad_{stage}", "detail": "It is bad."}


def write(workspace, studies, rejects=(), source_rows=None, has_reports=True):
    """The two tables and the inventory they are checked against."""
    rows = len(studies) + len(rejects) if source_rows is None else source_rows
    settings = {"source_rows": rows, "has_reports": has_reports}
    batches.commit(workspace.folder("inventory"), Plan((), settings))
    tables = {"studies": (studies, STUDIES), "rejects": (list(rejects), REJECTS)}
    for name, (content, schema) in tables.items():
        write_sealed_table(pa.Table.from_pylist(content, schema=schema), workspace.folder(name) / f"{name}.parquet")


def write_shards(workspace, images, text="Clear lungs.", grey=None, triplets=TRIPLETS):
    rng = np.random.default_rng(0)
    rows = [
        {
            "image_id": image,
            "study_id": f"s-{image}",
            "subject_id": "p1",
            "split": "train",
            "view": "PA",
            "height": 9,
            "width": 9,
            "pixels": (
                rng.integers(60, 200, SIZE * SIZE, np.uint8) if grey is None else np.full(SIZE * SIZE, grey, np.uint8)
            ).tobytes(),
            "text": text,
            "sentences": [{"section": "findings", "text": text}],
            "triplets": list(triplets),
            "labels": None,
        }
        for image in images
    ]
    folder = workspace.folder("shards")
    path = batches.output_path(folder, NAME)
    write_shard(pa.Table.from_pylist(rows, schema=shard_schema(SIZE)), path)
    seal(path)
    write_manifest(folder, [path], ENTITIES, POSITIONS, SIZE, "phantom")
    batches.commit(folder, Plan((Batch("b00000", NAME),), {"size": SIZE}))


def verdicts(checks, workspace):
    return {result.name: result.passed for result in checks(workspace)}


def test_sound_tables_pass(workspace):
    write(workspace, [study("a"), study("b")], [reject("c", "scan")])
    assert verdicts(check_studies, workspace) == {"nothing_lost": True, "no_patient_in_two_splits": True}
    write_shards(workspace, ["a", "b"])
    assert set(verdicts(check_shards, workspace).values()) == {True}


@pytest.mark.parametrize(
    ("studies", "rejects", "source_rows"),
    [
        ([study("a")], [], 2),  # one lost
        ([study("a"), study("b")], [reject("b", "image")], 3),  # one in both
        ([study("a")], [reject("b", "scan"), reject("b", "image")], 2),  # one rejected twice
    ],
)
def test_a_lost_or_doubled_image_is_found(workspace, studies, rejects, source_rows):
    write(workspace, studies, rejects, source_rows)
    found = next(result for result in check_studies(workspace) if result.name == "nothing_lost")
    assert not found.passed
    assert found.description.startswith(f"{source_rows} rows in the archive, but")
    assert found.blocks
    assert found.figures["missing"] or found.figures["in_both_or_twice"]


def test_a_patient_in_two_splits_is_found(workspace):
    write(workspace, [study("a", split="train"), study("b", split="test")])
    assert verdicts(check_studies, workspace)["no_patient_in_two_splits"] is False


@pytest.mark.parametrize(
    ("check", "shards"),
    [
        ("as_many_rows_as_studies", {"images": ["a"]}),
        ("as_many_rows_as_studies", {"images": ["a", "c"]}),
        ("no_empty_text", {"images": ["a", "b"], "text": " "}),
        ("pixels_are_sane", {"images": ["a", "b"], "grey": 100}),
        ("pixels_are_sane", {"images": ["a", "b"], "grey": 0}),
        ("reports_have_triplets", {"images": ["a", "b"], "triplets": ()}),
    ],
)
def test_bad_shards_are_found(workspace, check, shards):
    write(workspace, [study("a"), study("b")])
    write_shards(workspace, **shards)
    found = verdicts(check_shards, workspace)
    assert [name for name, passed in found.items() if not passed] == [check]


def test_images_without_reports_need_no_text(workspace):
    write(workspace, [study("a"), study("b")], has_reports=False)
    write_shards(workspace, ["a", "b"], text="", triplets=())
    assert set(verdicts(check_shards, workspace).values()) == {True}


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_the_sample_is_even_and_crosses_shards_and_row_groups(tmp_path, limit):
    grey, paths = iter(range(1000)), []
    for number, rows in enumerate((5, 0, 300, 2)):
        row = {"study_id": "s", "subject_id": "p", "split": "train", "view": "", "height": 1, "width": 1, "text": ""}
        table = [
            {**row, "image_id": f"{number}-{i}", "pixels": int(next(grey)).to_bytes(4, "big"), "sentences": []}
            | {"triplets": [], "labels": None}
            for i in range(rows)
        ]
        paths.append(tmp_path / f"{number}.parquet")
        write_shard(pa.Table.from_pylist(table, schema=shard_schema(2)), paths[-1])
    values = [int.from_bytes(image.tobytes(), "big") for image in sample_images(paths, 2, limit)]
    every = -(-307 // limit)
    assert values == list(range(0, 307, every))


def test_every_image_ends_in_one_table_and_the_first_stage_to_refuse_it_says_why(workspace):
    folder = workspace.folder("inventory")
    scanned = pa.Table.from_pylist([study(image) for image in "abcd"], schema=STUDIES)
    batches.run_batch(folder, Batch("b00000", NAME), lambda: (scanned, None))
    batches.commit(folder, Plan((Batch("b00000", NAME),)))
    scan_rejects = pa.Table.from_pylist([reject("x", "scan")], schema=REJECTS)
    write_sealed_table(scan_rejects, folder / inventory.REJECTS)
    for stage, refused in (("image", "bc"), ("report", "cd")):
        rejects = pa.Table.from_pylist([reject(image, stage) for image in refused], schema=REJECTS)
        path = workspace.folder(f"{stage}s")
        batches.run_batch(path, Batch("b00000", NAME), lambda rejects=rejects: (scanned, rejects))
        batches.commit(path, Plan((Batch("b00000", NAME),)))
    studies, rejects = split_usable(workspace)
    assert studies["image_id"].to_pylist() == ["a"]
    reasons = dict(zip(rejects["image_id"].to_pylist(), rejects["stage"].to_pylist(), strict=True))
    assert reasons == {"x": "scan", "b": "image", "c": "image", "d": "report"}
