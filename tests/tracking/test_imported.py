"""A released file becomes a run of a home."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import torch

from ingestion.workspace import Workspace
from models.errors import ModelError
from models.run_files import ORIGIN, TRAINED, UNTRAINED
from models.saved import ModelCard, load_method
from tests.models.released.fixtures import find_fixtures
from tests.models.released.test_medklip import texts_folder
from tracking import tracker
from tracking.imported import import_released
from tracking.runs import trained_run


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """The home, the fixture, the text encoder's folder, and the run."""
    found = find_fixtures("medklip_tiny")
    if not found:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    folder = tmp_path_factory.mktemp("imported")
    workspace = Workspace(home=str(folder / "home"), cohort="phantom")
    texts = texts_folder(found[0], folder / "texts")
    said = []
    run = import_released(workspace, found[0].file(folder), said.append, texts=texts)
    return workspace, found[0], texts, run, said


def test_it_is_the_latest_run_of_its_method(imported):
    workspace, fixture, _, run, said = imported
    assert (run.method, run.name, run.data_version) == ("medklip", "medklip:released", "")
    assert trained_run(workspace, "medklip") == run
    assert any("licence" in sentence for sentence in said)
    record = tracker.attach(workspace.home_path(), run.mlflow_run)
    found = record.client.get_run(record.run_id)
    assert (found.info.status, found.data.tags["radalign.origin"]) == ("FINISHED", "imported")
    assert found.data.params["imported.file"] == fixture.file(workspace.home_path()).name


@torch.inference_mode()
def test_a_copy_of_its_folder_and_its_version_in_mlflow_need_nothing_else(tmp_path):
    found = find_fixtures("cxrclip_r50_tiny")
    if not found:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    workspace, texts = Workspace(home=str(tmp_path / "home"), cohort="phantom"), tmp_path / "texts"
    shutil.copytree(found[0].folder / "bert", texts)
    run = import_released(workspace, found[0].file(tmp_path), lambda _: None, texts=texts)
    record = tracker.attach(workspace.home_path(), run.mlflow_run)
    (version,) = record.client.search_model_versions("name = 'cxr_clip-phantom'")
    served = Path(unquote(urlparse(version.source).path)) / "data" / run.fingerprint
    shutil.rmtree(texts)
    vectors = []
    for number, folder in enumerate((workspace.home_path() / run.output, served)):
        shutil.move(folder, tmp_path / str(number))
        vectors.append(load_method(tmp_path / str(number)).embed_texts(["pleural effusion"]))
    assert (vectors[0] == vectors[1]).all()


@torch.inference_mode()
def test_its_network_answers_as_the_file_does(imported):
    workspace, fixture, _, run, _ = imported
    folder = workspace.home_path() / run.output
    names, wanted = fixture.expected()["names"].tolist()[:6], fixture.expected()["probability"][:1, :6]
    square = torch.from_numpy(fixture.films()[0])[None, None]
    scores = {
        weights: load_method(folder, weights).zero_shot(square, names).scores for weights in ("trained", "untrained")
    }
    assert abs(scores["trained"].numpy() - wanted).max() < 1e-5
    assert abs(scores["untrained"].numpy() - wanted).max() > 1e-2
    assert ModelCard.load(folder).released == "medklip"
    origin = json.loads((folder / ORIGIN).read_text())["imported"]
    assert (origin["format"], len(origin["digest"])) == ("medklip", 64)


def test_the_same_file_is_imported_once(imported, tmp_path):
    workspace, fixture, texts, run, _ = imported
    folder = workspace.home_path() / run.output
    before = {name: (folder / name).stat().st_mtime_ns for name in (TRAINED, UNTRAINED)}
    again = import_released(workspace, fixture.file(tmp_path), lambda _: None, texts=texts, name="mine")
    assert (again.output, again.mlflow_run, again.name) == (run.output, run.mlflow_run, "medklip:released-mine")
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before


def test_other_weights_of_the_same_name_are_said_to_take_its_place(tmp_path):
    found = find_fixtures("chexzero_tiny")
    if not found:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    workspace = Workspace(home=str(tmp_path / "home"), cohort="phantom")
    first = import_released(workspace, found[0].file(tmp_path), lambda _: None)
    weights = torch.load(found[0].file(tmp_path), weights_only=True)
    torch.save({name: tensor * 1.5 for name, tensor in weights.items()}, tmp_path / "other.pt")
    said = []
    import_released(workspace, tmp_path / "other.pt", said.append, name="mine")
    import_released(workspace, found[0].file(tmp_path), said.append)
    assert not any("so far" in sentence for sentence in said)
    import_released(workspace, tmp_path / "other.pt", said.append)
    assert f"chexzero:released was the run in {workspace.home_path() / first.output} so far" in said[-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of git-lfs"),
        (b"  <!DOCTYPE html><html></html>", "is a web page"),
        (b"PK\x03\x04 not an archive", "is damaged, or it is no file of weights"),
    ],
)
def test_what_is_no_file_of_weights_is_refused_in_a_sentence(content, sentence, tmp_path):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        import_released(Workspace(home=str(tmp_path / "home"), cohort="phantom"), path, lambda _: None)
    assert not (tmp_path / "home" / "checkpoints").exists()


def test_what_is_missing_or_of_another_format_is_named(imported, tmp_path):
    workspace, fixture, texts, _, _ = imported
    path = fixture.file(tmp_path)
    with pytest.raises(ModelError, match="There is no file"):
        import_released(workspace, tmp_path / "none.pth", lambda _: None)
    with pytest.raises(ModelError, match="depend on texts that are not in its checkpoint"):
        import_released(workspace, path, lambda _: None)
    with pytest.raises(ModelError, match="no released format is called `medclop`"):
        import_released(workspace, path, lambda _: None, released="medclop", texts=texts)
    content = torch.load(path, weights_only=True)
    del content["model"]["module.classifier.bias"]
    torch.save(content, tmp_path / "less.pth")
    with pytest.raises(ModelError, match=r"lacks 1 weights, the first is `classifier\.bias`"):
        import_released(workspace, tmp_path / "less.pth", lambda _: None, texts=texts)
