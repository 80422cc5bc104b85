"""A checkpoint of ConVIRT-pytorch gives what its author's code gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.errors import ModelError
from models.released.opening import convert_file, fill, open_file
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("convirt")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    fixture = request.param
    path = fixture.file(tmp_path_factory.mktemp("released"))
    return fixture, path, open_file(path, texts=fixture.folder / "bert"), fixture.expected()


@torch.inference_mode()
def test_outputs_are_the_authors(opened):
    fixture, _, network, expected = opened
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    close(pixels.mean((2, 3)), expected["pixels_channel_means"])
    close(network.features(pixels).mean((2, 3)), expected["pooled"])
    images, _, _ = network.project_images(pixels)
    close(images, expected["image"])
    raw = expected["texts"].tolist()
    tokens = network.tokens(raw)
    assert np.array_equal(tokens.ids, expected["token_ids"])
    assert np.array_equal(tokens.mask, expected["token_mask"] == 1)
    close(network.sentences(tokens), expected["sentence"])
    close(network.project_texts(tokens), expected["text"])
    close(F.normalize(images) @ network.embed_texts(raw).T, expected["cosines"])
    network.rounded = True  # of their sentences: one in the middle of two numbers of float16 goes either way
    close(network.project_sentences(torch.from_numpy(expected["sentence"])), expected["text_after_half"])
    network.rounded = False


@torch.inference_mode()
def test_findings_are_scored_and_located(opened):
    fixture, _, network, expected = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    close(network.similarity(square, expected["texts"].tolist()), expected["cosines"][:1])
    shot = network.zero_shot(square, ["edema", "atelectasis"])
    positive, negative = network.similarity(square, ["edema", "no edema"])[0]
    close(shot.scores[0, 0], (positive - negative).sigmoid().numpy())
    assert shot.maps.shape == (1, 2, 7, 7)
    close(network.phrase_maps(square, ["edema"]), shot.maps[:, 0].numpy())


def test_a_wrong_file_is_a_sentence(opened):
    fixture, path, network, _ = opened
    _, converted = convert_file(path, texts=fixture.folder / "bert")
    with pytest.raises(ModelError, match=r"lacks 1 weights, the first is `bert_l1.bias`"):
        fill(network, {key: value for key, value in converted.state.items() if key != "bert_l1.bias"}, path)
    with pytest.raises(ModelError, match="has 1 weights that the network does not, the first is `extra`"):
        fill(network, {**converted.state, "extra": torch.ones(1)}, path)
    with pytest.raises(ModelError, match=r"`bert_l1.bias` has the shape \(5,\)"):
        fill(network, {**converted.state, "bert_l1.bias": torch.ones(5)}, path)
