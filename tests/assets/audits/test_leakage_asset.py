"""The asset `leakage` on tiny shards: its check and its metadata."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from assets.audits.leakage import LEAKAGE, leakage
from assets.workspace import WorkspaceResource
from evaluation.leakage.datasets import FILE
from evaluation.results.store import FOLDER
from ingestion.pipeline import STATE
from store.seals import write_sealed_json
from tests.evaluation.leakage.test_datasets import OWN, SIZE, SPLITS, TESTED, build
from tests.evaluation.random_images import random_images


@pytest.fixture
def pretraining(workspace, monkeypatch, tmp_path):
    """A clean pretraining cohort, and a clean one to test on that is ready."""
    monkeypatch.setenv(f"RADALIGN_{TESTED.upper()}_ROOT", str(tmp_path))
    there = WorkspaceResource(home=workspace.home, cohort=OWN).plain()
    build(there, ["p0", "p1", "p2", "p3"], random_images(0, len(SPLITS), SIZE))
    build(there.downstream(TESTED), ["q0", "q1", "q2", "q3"], random_images(1, len(SPLITS), SIZE))
    write_sealed_json(there.home_path() / TESTED / STATE, {"status": "ready", "note": ""})
    return there


def look(workspace):
    """What the asset tells: its check, its metadata and its file."""
    resource = WorkspaceResource(home=workspace.home, cohort=workspace.cohort)
    result = dg.materialize([leakage], resources={"workspace": resource})
    assert result.success  # whatever is found stops nothing
    (check,) = result.get_asset_check_evaluations()
    (event,) = result.asset_materializations_for_node(LEAKAGE)
    kept = json.loads((workspace.home_path() / FOLDER / FILE).read_text())
    return check, {name: value.value for name, value in event.metadata.items()}, kept


def test_cohorts_that_share_nothing_pass(pretraining):
    check, told, kept = look(pretraining)
    assert check.passed
    assert (told["leaks"], told["comparisons"]) == (0, 14)  # 6 between the splits of each cohort, 2 between the two
    assert kept == {"pretraining": OWN, "found": []}
    assert "fine_tune: The epoch that is kept is the best on the validate split." in told["selection"]


def test_planted_patients_and_images_are_a_warning_that_names_none(pretraining):
    images = random_images(1, len(SPLITS), SIZE)
    images[3] = random_images(0, len(SPLITS), SIZE)[2][:, ::-1]  # pretraining validated on it, mirrored
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "p1"], images)
    check, told, kept = look(pretraining)
    found = [
        "1 of the 1 patients of edema_severity (test) are also in mimic_cxr (train, validate). "
        "Both hold images of MIMIC-CXR.",
        "1 of the 1 images of edema_severity (test) are near duplicates of one in mimic_cxr (train, validate). "
        "Both hold images of MIMIC-CXR.",
    ]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert kept["found"] == found
    assert check.description == " ".join(found)
    assert "p1" not in " ".join(map(str, told.values()))


def test_a_split_without_images_is_told_and_is_no_leak(pretraining):
    images = random_images(1, len(SPLITS), SIZE)
    build(pretraining.downstream(TESTED), ["q0", "q1", "q2", "q3"], images, ("train", "train", "train", "test"))
    check, told, _ = look(pretraining)
    assert check.passed
    assert "edema_severity (validate) has no images to compare with edema_severity (train)." in told["sentences"]
