"""Leakage between tiny shards in which patients and images are planted twice, or are not."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from evaluation.leakage.checks import IMAGES, describe
from evaluation.leakage.datasets import FILE, UNKNOWN, check_leakage, read_leaks
from evaluation.results.store import FOLDER
from ingestion.pipeline import STATE
from ingestion.workspace import Workspace
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store.seals import write_sealed_json
from tests.evaluation.damage import DAMAGES
from tests.evaluation.random_images import random_images

OWN, TESTED = "mimic_cxr", "edema_severity"  # the same archive, so that their patients can be compared
SIZE = 64
SPLITS = ("train", "train", "validate", "test")  # of the four images of a cohort


@pytest.fixture
def pretraining(workspace, monkeypatch, tmp_path):
    """A clean pretraining cohort, and a clean one to test on that is ready."""
    monkeypatch.setenv(f"RADALIGN_{TESTED.upper()}_ROOT", str(tmp_path))
    there = Workspace(home=workspace.home, cohort=OWN)
    build(there, ["p0", "p1", "p2", "p3"], random_images(0, len(SPLITS), SIZE))
    build(there.downstream(TESTED), ["q0", "q1", "q2", "q3"], random_images(1, len(SPLITS), SIZE))
    write_sealed_json(there.home_path() / TESTED / STATE, {"status": "ready", "note": ""})
    return there


def build(workspace, subjects, images, splits=SPLITS, views=("PA", "PA", "PA", "PA")):
    """Shards of an image per subject."""
    name, folder = workspace.cohort_name(), workspace.folder("shards")
    schema = shard_schema(SIZE)
    blank = {"image_path": "a.png", "height": SIZE, "width": SIZE, "text": "", "sentences": []}
    rows = [
        {
            **dict.fromkeys(schema.names),
            **blank,
            "cohort": name,
            "image_id": f"{name}-{index}",
            "study_id": f"{name}-{index}",
            "subject_id": subject,
            "split": splits[index],
            "view": views[index],
            "pixels": images[index].tobytes(),
            "triplets": [],
            "labels": [],
        }
        for index, subject in enumerate(subjects)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(pa.Table.from_pylist(rows, schema=schema), folder / "a.parquet")
    write_manifest(folder, [folder / "a.parquet"], [], [], SIZE, name)


def check(workspace):
    """What is found: all comparisons, and the sentences that are kept."""
    leaks = check_leakage(workspace, [TESTED], print)
    kept = json.loads((workspace.home_path() / FOLDER / FILE).read_text())
    assert kept["pretraining"] == OWN
    assert read_leaks(workspace.home_path() / FOLDER, OWN, print) == kept["found"]
    assert read_leaks(workspace.home_path() / FOLDER, "another", print) == []
    return leaks, kept["found"]


def test_cohorts_that_share_nothing_have_no_leaks(pretraining):
    leaks, found = check(pretraining)
    assert len(leaks) == 14  # 6 between the splits of each cohort, 2 between the two
    assert found == []


def test_planted_patients_and_images_are_found_without_their_names(pretraining):
    images = random_images(1, len(SPLITS), SIZE)
    images[3] = random_images(0, len(SPLITS), SIZE)[2][:, ::-1]  # pretraining validated on it, mirrored
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "p1"], images)
    leaks, found = check(pretraining)
    assert found == [
        "1 of the 1 patients of edema_severity (test) are also in mimic_cxr (train, validate). "
        "Both hold images of MIMIC-CXR.",
        "1 of the 1 images of edema_severity (test) are near duplicates of one in mimic_cxr (train, validate). "
        "Both hold images of MIMIC-CXR.",
    ]
    assert "p1" not in " ".join(describe(leaks))


def test_images_that_two_splits_of_a_cohort_share_are_found(pretraining):
    images = random_images(0, len(SPLITS), SIZE)
    images[3] = images[0]
    build(pretraining, ["p0", "p1", "p2", "p3"], images)
    assert check(pretraining)[1] == [
        "1 of the 1 images of mimic_cxr (test) are near duplicates of one in mimic_cxr (train)."
    ]


def test_what_pretraining_only_tested_on_was_not_seen(pretraining):
    images = random_images(1, len(SPLITS), SIZE)
    images[3] = random_images(0, len(SPLITS), SIZE)[3]
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "p3"], images)
    assert check(pretraining)[1] == []


def test_a_cohort_that_is_not_ready_is_not_compared(pretraining):
    write_sealed_json(pretraining.home_path() / TESTED / STATE, {"status": "failed", "note": "The archive is gone."})
    assert len(check(pretraining)[0]) == 6


def test_images_are_hashed_once(pretraining, monkeypatch):
    first = check(pretraining)
    monkeypatch.setattr("shards.duplicates.hash_images", lambda images: pytest.fail("hashed again"))
    assert check(pretraining) == first


def test_a_split_without_images_is_described_and_is_no_leak(pretraining):
    images = random_images(1, len(SPLITS), SIZE)
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "q3"], images, ("train", "train", "train", "test"))
    leaks, found = check(pretraining)
    assert found == []
    sentence = "edema_severity (validate) has no images to compare with edema_severity (train)."
    assert sentence in describe(leaks)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_hashes_are_made_again(pretraining, damage):
    first = check(pretraining)
    paths = sorted(pretraining.folder("hashes").glob("*.npz"))
    before = [path.read_bytes() for path in paths]
    damage(paths[0])
    assert check(pretraining) == first
    assert [path.read_bytes() for path in paths] == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_findings_are_no_all_clear(pretraining, damage):
    check(pretraining)
    said = []
    damage(pretraining.home_path() / FOLDER / FILE)
    found = read_leaks(pretraining.home_path() / FOLDER, OWN, said.append)
    assert found == [UNKNOWN]
    assert said[0].endswith("materialize the asset `leakage` again.")


def test_laterals_are_compared_as_frontal_images_are(pretraining):
    """The test image of the other cohort is a copy of a lateral that pretraining has seen."""
    seen = random_images(0, len(SPLITS), SIZE)
    build(pretraining, ["p0", "p1", "p2", "p3"], seen, views=("PA", "LATERAL", "AP", ""))
    other = random_images(1, len(SPLITS), SIZE)
    other[3] = seen[1]
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "q3"], other)
    (leak,) = [leak for leak in check_leakage(pretraining, [TESTED], print) if leak.count]
    assert (leak.count, leak.kind) == (1, IMAGES)
