"""MGCA's released checkpoints give what their authors' code gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.errors import ModelError
from models.released.files.containers import read_content
from models.released.formats import mgca
from models.released.opening import convert_file, fill, open_file
from models.released.parts.reports import prepared
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("mgca")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    fixture = request.param
    path = fixture.file(tmp_path_factory.mktemp("released"))
    network = open_file(path, texts=fixture.folder / "bert")
    with torch.inference_mode():
        pixels = network.films(fixture.films())
        return fixture, path, network, fixture.expected(), pixels, network.look(pixels)


@torch.inference_mode()
def test_films_are_the_authors(opened):
    fixture, _, network, expected, pixels, (pooled, local, _) = opened
    close(pixels[1:3, 0], expected["pixels"])
    close(pooled, expected["image_pooled"])
    close(local[0, :40], expected["image_local_first"])
    close(network.image_head(pooled), expected["film"])
    close(network.patch_head(local)[:1], expected["patches"])
    square = torch.from_numpy(fixture.films()[0])[None, None]
    close(network.image_features(square), expected["image_pooled"][:1])
    assert network.image_maps(square)[-1].shape[2] == (11 if network.transformer is False else 14)
    if "patch_attention" in expected:
        close(network.class_attention(pixels), expected["patch_attention"])


@torch.inference_mode()
def test_texts_are_the_authors(opened):
    _, _, network, expected, _, (_, local, _) = opened
    raw = expected["texts"].tolist()
    assert [prepared(text) for text in raw] == expected["prepared_texts"].tolist()
    tokens = network.tokens(raw)
    assert np.array_equal(tokens.ids, expected["token_ids"])
    reports, words, attention, _ = network.read(tokens)
    close(reports, expected["report_cls"])
    close(words[:2, :20], expected["report_words"])
    close(attention, expected["word_attention"])
    close(network.report_head(reports), expected["report"])
    close(network.word_head(words[:2, :20]), expected["words_projected"])
    patches = network.patch_head(local[:1]).expand(len(raw), -1, -1)
    close(network.word_attention(patches, words[:, :12])[None], expected["word_to_patch_attention"])


@torch.inference_mode()
def test_scores_are_the_authors(opened):
    fixture, _, network, expected, pixels, (pooled, _, _) = opened
    cosines = F.normalize(network.image_head(pooled)) @ network.embed_texts(expected["texts"].tolist()).T
    close(cosines, expected["cosines"])
    close(network.prototype_scores(pixels), expected["prototype_scores"])
    square = torch.from_numpy(fixture.films()[0])[None, None]
    close(network.similarity(square, expected["texts"].tolist()), expected["cosines"][:1])


@torch.inference_mode()
def test_words_are_located_on_the_whole_film(opened):
    fixture, _, network, expected, _, _ = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    text = expected["texts"].tolist()[0]
    found = network.word_maps(square, [text])
    number = len(found.words[0])
    assert found.maps.shape[1] == number
    close(found.maps.sum((2, 3)), np.ones((1, number), np.float32))
    patches = expected["word_to_patch_attention"][0, 0, :number]
    cells = int(patches.shape[1] ** 0.5)
    inner = round(found.maps.shape[2] * network.crop / mgca.WHOLE)
    start, parts = (found.maps.shape[2] - inner) // 2, inner // cells
    middle = found.maps[0, :, start : start + inner, start : start + inner]
    close(middle.unflatten(2, (cells, parts)).unflatten(1, (cells, parts)).sum((2, 4)).flatten(1), patches)
    assert found.maps[..., :start, :].sum() == 0
    shot = network.zero_shot(square, [text, "edema"])
    close(shot.maps[:, 1], network.phrase_maps(square, ["edema"]).numpy())
    close(shot.maps.sum((2, 3)), np.ones((1, 2), np.float32))
    assert ((shot.scores > 0) & (shot.scores < 1)).all()


@torch.inference_mode()
def test_long_and_empty_texts_are_read(opened):
    fixture, _, network, _, _, _ = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.similarity(square, ["", "effusion", "the heart is enlarged. " * 60])
    assert found.isfinite().all()
    close(found[0, 0], found[0, 1].numpy())  # the preparation drops a sentence of one word


def test_the_wrappers_of_lightning_are_read(opened, tmp_path):
    fixture, path, network, _, _, _ = opened
    for wrapper in fixture.folder.glob("wrapper_only*.ckpt"):
        content = read_content(wrapper)
        assert mgca.recognises(content)
        with pytest.raises(ModelError, match="lacks"):
            open_file(wrapper, texts=fixture.folder / "bert")
        whole = {**content, "state_dict": read_content(path)["state_dict"]}
        assert mgca.convert(whole, fixture.folder / "bert").settings["temperature"] == network.temperature


def test_a_wrong_file_is_a_sentence(opened):
    fixture, path, network, _, _, _ = opened
    _, converted = convert_file(path, texts=fixture.folder / "bert")
    name = "patch_head.hidden.weight"
    with pytest.raises(ModelError, match=f"lacks 1 weights, the first is `{name}`"):
        fill(network, {key: value for key, value in converted.state.items() if key != name}, path)
    with pytest.raises(ModelError, match="has 1 weights that the network does not, the first is `extra`"):
        fill(network, {**converted.state, "extra": torch.ones(1)}, path)
    with pytest.raises(ModelError, match=r"`patch_head.hidden.weight` has the shape \(5, 5\)"):
        fill(network, {**converted.state, name: torch.ones(5, 5)}, path)
    with pytest.raises(ModelError, match=r"the folder of the text encoder .* is needed"):
        open_file(path)
