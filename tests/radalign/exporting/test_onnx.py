"""Graphs of any batch size give Radalign's numbers in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import radalign
from radalign.errors import RadalignError, UnknownFindingWarning
from radalign.exporting.export import open_subject
from radalign.exporting.targets import onnx as target
from radalign.exporting.towers import NotExportableError
from tests.models.tiny import SIZE
from tests.radalign.exporting.small import released_model, trained_model

onnxruntime = pytest.importorskip("onnxruntime")
FINDINGS = ["effusion", "pneumothorax"]
TEXTS = (["nodule"], ["no effusion", "small heart"], ["no effusion", "the heart is large and the lungs are clear"] * 3)


def noise(images: int) -> np.ndarray:
    return np.random.default_rng(images).integers(0, 256, (images, SIZE, SIZE), np.uint8)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_medklip_scores_fixed_findings(tmp_path):
    model = trained_model("medklip", tmp_path / "run")
    folder = radalign.export(model, "onnx", tmp_path / "out", FINDINGS, home=str(tmp_path))
    assert sorted(path.name for path in folder.glob("*.onnx")) == ["image.onnx", "zero_shot.onnx"]
    for graph in folder.glob("*.onnx"):
        assert b".py" not in graph.read_bytes()  # no path of the machine, as in a trace of the calls
    assert (folder / "findings.txt").read_text().splitlines() == FINDINGS
    image, scores = (onnxruntime.InferenceSession(folder / name) for name in ("image.onnx", "zero_shot.onnx"))
    for images in (1, 2, 5):
        squares = noise(images)
        grey = squares[:, None].astype(np.float32)
        close(image.run(None, {"grey": grey})[0], model.image_features(squares))
        close(scores.run(None, {"grey": grey})[0], model.zero_shot(squares, FINDINGS).scores)
    inputs = [(torch.from_numpy(grey),)]
    with pytest.raises(NotExportableError, match="what was written gives features that differ by"):
        target._compare(
            lambda given: model.network.image_features(given) * 1.001,
            folder / "image.onnx",
            inputs,
            ["grey"],
            ["features"],
        )


def test_texts_of_any_length_are_embedded(tmp_path):
    model = trained_model("chexzero", tmp_path / "run")
    network = open_subject(model).network
    with torch.inference_mode():
        inputs = [(tokens.ids, tokens.mask.long()) for tokens in map(network.texts.tokenizer, TEXTS[:2])]
        target._write_graph(target.TextGraph(network), tmp_path / "text.onnx", inputs, ["vectors"])
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    for texts in TEXTS:
        tokens = network.texts.tokenizer(texts)
        given = {"ids": tokens.ids.numpy(), "mask": tokens.mask.long().numpy()}
        close(session.run(None, given)[0], model.embed_texts(texts))


def test_findings_of_a_network_that_scores_none_are_refused(tmp_path):
    model = released_model("moco", tmp_path / "run")
    with pytest.raises(RadalignError, match="moco scores no findings: export it to onnx without any"):
        radalign.export(model, "onnx", tmp_path / "out", FINDINGS)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(RadalignError, match=r"onnxscript is missing: run pip install '\.\[onnx\]' in the checkout"):
        radalign.export(trained_model("medklip", tmp_path / "run"), "onnx", tmp_path / "out")


def test_what_no_network_knows_is_warned_of_or_refused(tmp_path):
    with pytest.raises(RadalignError, match="zebra"):
        radalign.export(trained_model("medklip", tmp_path / "medklip"), "onnx", tmp_path / "out", ["zebra"])
    convirt = trained_model("convirt", tmp_path / "convirt")
    with pytest.warns(UnknownFindingWarning, match="zebra"):
        open_subject(convirt, ["zebra"])
