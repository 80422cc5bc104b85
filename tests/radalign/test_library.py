"""The front door as a user meets it: load, predict, embed, evaluate."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import radalign
from evaluation.dataset import EvaluationDataset
from evaluation.predictions import Predictions
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace
from models.saved import ModelCard
from radalign.evaluation import _ingestion_settings
from radalign.model import name_finding
from shards.reader import ShardReader
from store.code import ROOT
from tests.radalign.conftest import NETWORK, SIZE

LABELS = ["pleural effusion", "pneumothorax"]
WITHOUT_DAGSTER = """
import json, sys
for name in ("dagster", "mlflow", "dagster_pipes"):
    sys.modules[name] = None
import radalign
model = radalign.load(sys.argv[1])
table = radalign.evaluate(
    model, "rsna_pneumonia", sys.argv[2], json.loads(sys.argv[4]), home=sys.argv[3], fractions=[1.0],
    options={"fine_tune": {"maximum_steps": 2}, "segmentation": {"maximum_steps": 2, "width": 4}},
)
table.to_json(sys.argv[5], orient="records", double_precision=15)
"""


def test_what_is_predicted_for_a_file_is_what_its_shard_gives(home):
    data = ShardReader(home.workspace.folder("shards")).read("test")
    studies = pq.read_table(home.workspace.folder("studies") / "studies.parquet").to_pylist()
    paths = {row["image_id"]: home.workspace.root() / row["image_path"] for row in studies}
    files = [paths[name] for name in data.image_ids]
    assert files[0].suffix == ".dcm"
    assert (home.model.read(files) == data.pixels).all()
    predicted = home.model.zero_shot(files, LABELS)
    from_arrays = home.model.zero_shot(data.pixels, LABELS)
    assert (predicted.scores == from_arrays.scores).all()
    assert (predicted.maps == from_arrays.maps).all()
    dataset = EvaluationDataset(home.workspace)
    stored = Predictions(dataset, home.model.run, "trained", lambda line: None).zero_shot("test")
    asked = home.model.zero_shot(files, dataset.queries)
    assert asked.labels == tuple(dataset.queries)
    np.testing.assert_array_equal(asked.scores, stored.scores)


def test_files_are_decoded_as_the_images_of_the_training_were(home, tmp_path):
    """Also where borders are cut off and films squashed, which are settings of the ingestion and not of the model."""
    workspace = replace(home.workspace, home=str(tmp_path), archive_root=str(home.workspace.root()))
    update(
        workspace, IngestionSettings(images=ImagesSettings(size=SIZE, crop_borders=True, squash=True)), progress=False
    )
    shards = workspace.folder("shards")
    options = {"input_size": SIZE, "max_steps": 1, "batch_size": 8, "threads": 1}
    network = {**NETWORK, "frozen_layers": 0}
    model = radalign.pretrain("convirt", shards, tmp_path / "run", **options, method_config=network)
    data = ShardReader(shards).read("test")
    studies = pq.read_table(workspace.folder("studies") / "studies.parquet").to_pylist()
    paths = {row["image_id"]: workspace.root() / row["image_path"] for row in studies}
    files = [paths[name] for name in data.image_ids]
    assert (model.read(files) == data.pixels).all()
    assert (home.model.read(files) != data.pixels).any()
    assert (model.card.squash, home.model.card.squash) == (True, False)
    film = np.full((60, 90), 7, np.uint8)
    assert (model.read(film).min(), home.model.read(film).min()) == (7, 0)  # an array follows: no black is added


def test_one_image_is_a_path_an_array_or_a_list_of_either(home):
    pixels = ShardReader(home.workspace.folder("shards")).read("test").pixels
    single = home.model.zero_shot(pixels[0], LABELS)
    assert single.scores.shape == (1, 2)
    assert single.maps.shape[:2] == (1, 2)
    listed = home.model.zero_shot([pixels[0], pixels[1].astype(np.float64)], LABELS)
    np.testing.assert_allclose(listed.scores[0], single.scores[0], rtol=1e-5)
    assert list(listed.to_frame().columns) == LABELS
    large = np.kron(pixels[0], np.ones((3, 3), np.uint8))
    assert (home.model.read(large) == pixels[0]).all()


def test_words_that_name_no_finding_are_scored_with_a_warning(home):
    pixels = ShardReader(home.workspace.folder("shards")).read("test").pixels[:1]
    with pytest.warns(radalign.UnknownFindingWarning) as caught:
        found = home.model.zero_shot(pixels, ["cat", "pleural effusion", "no pneumothorax"])
    assert found.scores.shape == (1, 3)
    said = [str(warning.message) for warning in caught]
    assert said == [
        "`cat` names no finding that is known here. The score may mean nothing.",
        "`no pneumothorax` says that something is absent: ask for the finding itself, whose score is then low. The "
        "score may mean nothing.",
    ]


def test_a_method_that_knows_names_says_what_it_takes_words_for():
    named, doubt = name_finding("pnuemothorax")
    assert named == "pneumothorax"
    assert re.fullmatch(r"`pnuemothorax` means `pneumothorax` .* That is what is scored\.", doubt)
    with pytest.raises(radalign.RadalignError, match="`cat` is not known; nearest: nothing"):
        name_finding("cat")
    assert name_finding("enlarged heart") == ("cardiomegaly", "")


def test_images_and_texts_share_a_space(home):
    pixels = ShardReader(home.workspace.folder("shards")).read("test").pixels[:3]
    images, texts = home.model.embed_images(pixels), home.model.embed_texts(["There is an effusion.", "Normal."])
    assert images.shape[1] == texts.shape[1]
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([images, texts]), axis=1), 1, rtol=1e-5)
    assert home.model.image_features(pixels).shape[0] == 3


def test_a_model_is_loaded_by_its_folder(home):
    again = radalign.load(home.model.folder)
    assert again.card.method == "convirt"
    assert again.card.shard_size == SIZE
    untrained = radalign.load(home.model.folder, "untrained")
    pixels = ShardReader(home.workspace.folder("shards")).read("test").pixels[:2]
    assert (again.embed_images(pixels) == home.model.embed_images(pixels)).all()
    assert (untrained.embed_images(pixels) != home.model.embed_images(pixels)).any()


@pytest.mark.parametrize("squash", [None, False, True])
def test_a_dataset_is_squashed_as_the_images_of_the_network_were(monkeypatch, squash):
    """Whatever the dataset was before; the cards of earlier versions do not say, and their images are letterboxed."""
    monkeypatch.setattr("ingestion.pipeline.last_settings", lambda place: {"images": {"squash": squash is not True}})
    card = ModelCard("convirt", {}, [], SIZE, decoding={} if squash is None else {"squash": squash})
    model = SimpleNamespace(card=card)
    place = Workspace(cohort="rsna_pneumonia")
    assert _ingestion_settings(model, place, "", ["frontal"]).images == ImagesSettings(size=SIZE, squash=bool(squash))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda model: radalign.load("nothing"), "nothing is neither the folder of a finished run"),
        (lambda model: model.zero_shot("nothing.dcm", LABELS), r"The image nothing\.dcm cannot be read"),
        (lambda model: model.zero_shot([], LABELS), "There is no image"),
        (lambda model: model.zero_shot(np.zeros((3, 3, 3, 3)), LABELS), "An image is an array"),
        (lambda model: model.zero_shot(np.full((9, 9), 4095.0), LABELS), r"grey levels 0\.\.255"),
        (lambda model: model.zero_shot(np.zeros((9, 9)), []), "There is no text"),
        (lambda model: radalign.evaluate(model, "nowhere"), "nowhere"),
        (lambda model: radalign.evaluate(model, "rsna_pneumonia", "/nowhere"), "not a folder"),
        (lambda model: radalign.evaluate(model, "rsna_pneumonia", tasks=["grading"]), "has no annotations for grading"),
        (lambda model: radalign.evaluate(model, "phantom", fractions=[0.5]), "fractions names 0.5"),
        (lambda model: radalign.evaluate(model, "phantom", options={"fine_tune": {"epoch": 1}}), "no setting `epoch`"),
        (lambda model: radalign.evaluate(model, "phantom", preset="none"), "There is no preset none"),
        (lambda model: radalign.pretrain("nothing", "shards", "out"), "nothing"),
        (
            lambda model: radalign.pretrain("simclr", "shards", "out", method_config={"heat": 1}),
            "simclr: `method_config` has no field `heat`; its fields are channels,",
        ),
    ],
)
def test_a_mistake_is_one_sentence(home, call, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(radalign.RadalignError, match=sentence):
        call(home.model)


TASKS = ["zero_shot_classification", "zero_shot_grounding", "linear_probe", "fine_tune", "segmentation"]


def test_without_dagster_and_mlflow_the_numbers_are_those_of_the_dagster_job(home, tmp_path, monkeypatch):
    """Bit for bit, from the archive on, each in a home of its own."""
    import dagster as dg

    from pipelines.definitions import defs
    from tracking.runs import remember

    output = tmp_path / "numbers.json"
    arguments = [home.model.folder, home.rsna, tmp_path / "plain", json.dumps(TASKS), output]
    command = [sys.executable, "-c", WITHOUT_DAGSTER, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    plain = pd.DataFrame(json.loads(output.read_text()))

    monkeypatch.setenv("RADALIGN_RSNA_PNEUMONIA_ROOT", str(home.rsna))
    monkeypatch.setenv("RADALIGN_PHANTOM_ROOT", str(home.workspace.root()))
    remember(home.workspace, home.model.run)
    selection = [dg.AssetKey(["dataset", "rsna_pneumonia"]), dg.AssetKey(["downstream", "convirt"])]
    options = {"fine_tune": {"maximum_steps": 2}, "segmentation": {"maximum_steps": 2, "width": 4}}
    evaluation = {"cohorts": ["rsna_pneumonia"], "fractions": [1.0], "simulated_studies": 0, **options}
    job = defs.get_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key="phantom",
            asset_selection=selection,
            run_config={
                "resources": {
                    "workspace": {"config": {"home": str(home.workspace.home_path()), "cohort": "phantom"}},
                    "evaluation": {"config": evaluation},
                }
            },
        )
    assert result.success
    files = (home.workspace.home_path() / "results").glob("*.parquet")
    rows = [row for path in files for row in pq.read_table(path).to_pylist() if row["cohort"] == "rsna_pneumonia"]
    by_dagster = {key(row): numbers_of(row) for row in rows if row["task"] in TASKS}
    by_library = {
        key(row): (row["value"], row["low"], row["high"], row["n"])
        for row in plain.replace({np.nan: None}).to_dict("records")
    }
    assert by_library.keys() == by_dagster.keys()
    assert len(by_library) > 50
    for name, numbers in by_library.items():
        assert numbers == pytest.approx(by_dagster[name], rel=0, abs=1e-15, nan_ok=True), name


def key(row):
    return tuple(row[name] for name in ("method", "task", "setting", "metric", "class"))


def numbers_of(row):
    return tuple(row[name] for name in ("value", "low", "high", "n"))


def test_a_device_or_a_precision_that_there_is_not_is_one_sentence():
    with pytest.raises(radalign.RadalignError, match="device is `cuda:99`, which torch cannot use on this machine"):
        radalign.load("medklip", device="cuda:99")
    with pytest.raises(radalign.RadalignError, match="precision is `fp16`, but must be one of auto, fp32, bf16"):
        radalign.load("medklip", precision="fp16")
