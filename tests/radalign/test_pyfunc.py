"""A finished run as a version in MLflow's registry, which MLflow loads and serves."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from radalign.errors import RadalignError
from radalign.pyfunc import ImageScorer
from tracking import store
from tracking import tracker as tracking
from tracking.places import ARTIFACTS
from tracking.tracker import RunIdentity

FINDINGS = ["pleural effusion", "pneumothorax"]
NAME = "convirt-phantom"


@pytest.fixture(scope="module")
def registered(home):
    """The tracker of the run, registered twice."""
    place = home.workspace.home_path()
    identity = RunIdentity("f" * 20, "convirt", {}, {}, "phantom", "shards", home.model.run.data_version)
    tracker = tracking.open_run(place, identity, pytest.fail)
    for _ in range(2):
        tracker.register(home.model.run, home.model.folder, "phantom")
    return tracker


@pytest.fixture(scope="module")
def films(home):
    rows = pq.read_table(home.workspace.folder("studies") / "studies.parquet").to_pylist()
    return [home.workspace.root() / row["image_path"] for row in rows[:3]]


def version(tracker, which="/latest"):
    import mlflow

    mlflow.set_tracking_uri(store.tracking_uri(tracker._home))
    try:
        return mlflow.pyfunc.load_model(f"models:/{NAME}{which}")
    finally:
        mlflow.set_tracking_uri(None)


def test_a_version_scores_as_the_run_does(registered, home, films, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    loaded = version(registered)
    table = pd.DataFrame({"image": [path.read_bytes() for path in films]})
    scores = loaded.predict(table, params={"findings": FINDINGS})
    pd.testing.assert_frame_equal(scores, home.model.zero_shot(films, FINDINGS).to_frame())
    assert list(loaded.predict(table)) == loaded.metadata.signature.outputs.input_names()
    assert loaded.metadata.metadata["checkpoint"] == home.model.run.checkpoint_digest
    registered.log_summary({"zero_shot_classification/auroc/macro": 0.5})
    assert version(registered, "@best").metadata.metadata == loaded.metadata.metadata


def test_the_same_run_is_one_version_unless_its_files_are_lost(registered, home):
    (found,) = registered.client.search_model_versions(f"name = '{NAME}'")
    assert found.tags["radalign.checkpoint"] == home.model.run.checkpoint_digest
    model = Path(ARTIFACTS, registered.run_id, "artifacts", "model")
    shutil.rmtree(registered._home / model)
    registered.register(home.model.run, home.model.folder, "phantom")
    versions = registered.client.search_model_versions(f"name = '{NAME}'")
    assert {one.version for one in versions} == {1, 2}
    assert (registered._home / model / "MLmodel").is_file()


def test_mlflow_predicts_from_the_command_line(registered, home, films, tmp_path):
    rows = [[base64.b64encode(path.read_bytes()).decode()] for path in films]
    question = {"dataframe_split": {"columns": ["image"], "data": rows}, "params": {"findings": FINDINGS}}
    (tmp_path / "question.json").write_text(json.dumps(question))
    command = ["models", "predict", "-m", f"models:/{NAME}/latest", "--env-manager", "local", "--content-type", "json"]
    files = ["-i", str(tmp_path / "question.json"), "-o", str(tmp_path / "answer.json")]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.tracking_uri(registered._home)}
    subprocess.run([sys.executable, "-m", "mlflow", *command, *files], cwd=tmp_path, env=environment, check=True)
    answer = pd.DataFrame(json.loads((tmp_path / "answer.json").read_text())["predictions"])
    pd.testing.assert_frame_equal(answer, home.model.zero_shot(films, FINDINGS).to_frame(), check_dtype=False)


def test_mistakes_are_sentences(home, films):
    scorer = ImageScorer(home.model)
    with pytest.raises(RadalignError, match="names no finding"):
        scorer.predict(pd.DataFrame({"image": [b""]}), {"findings": []})
    with pytest.raises(RadalignError, match="no column `image`"):
        scorer.predict(pd.DataFrame({"film": [b""]}), {"findings": FINDINGS})
    with pytest.raises(RadalignError, match=r"^The image of row 2 cannot be read"):
        scorer.predict(pd.DataFrame({"image": [films[0].read_bytes(), b"no image"]}), {"findings": FINDINGS})
