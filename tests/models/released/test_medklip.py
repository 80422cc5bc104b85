"""MedKLIP's released checkpoint gives what its authors' code gives."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from models.encoders.text import embed_texts
from models.errors import ModelError
from models.released.formats.medklip import BOOKS, DESCRIPTIONS, TEST_TOKENS
from models.released.opening import convert_file, make_network, open_file
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("medklip")


def texts_folder(fixture, folder):
    """The folder of the text encoder, with the weights of the recipe, or with the vectors themselves."""
    expected = fixture.expected()
    shutil.copytree(fixture.folder / "bert", folder)
    described = dict(zip(expected["names"].tolist(), expected["descriptions"].tolist(), strict=True))
    (folder / DESCRIPTIONS).write_text(json.dumps(described))
    if (fixture.folder / "recipe.json").exists():
        state = {name: tensor for name, tensor in fixture.groups()["bert"].items() if "position_ids" not in name}
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    else:
        books = {name: torch.from_numpy(expected[name]) for name in ("entity_book", "position_book")}
        save_file(books, folder / BOOKS)
    return folder


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    folder = tmp_path_factory.mktemp("released")
    network = open_file(request.param.file(folder), texts=texts_folder(request.param, folder / "texts"))
    return request.param, network


@torch.inference_mode()
def test_films_and_answers_are_the_authors(opened):
    fixture, network = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    close(pixels.mean((2, 3)), expected["pixels_channel_means"])
    stage = network.stage(pixels)
    close(stage.mean((2, 3)), expected["third_stage_pooled"])
    logits, maps = network.answer(network.look(pixels))
    close(logits, expected["logits"])
    close(logits.softmax(-1)[..., 1], expected["probability"])
    close(maps[:, :1], expected["attention"])
    books = len(expected["entity_book"])
    close(network.entity_book[:books], expected["entity_book"])


@torch.inference_mode()
def test_a_finding_is_asked_for_by_its_name(opened):
    fixture, network = opened
    names = fixture.expected()["names"].tolist()
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.zero_shot(square, [names[5], names[2]])
    close(found.scores[0], fixture.expected()["probability"][0, [5, 2]])
    assert found.maps.shape == (1, 2, 14, 14)
    with pytest.raises(ModelError, match="no entity `cat`"):
        network.zero_shot(square, ["cat"])


@torch.inference_mode()
def test_a_finding_that_is_no_entity_is_asked_for_by_its_description(opened, tmp_path):
    fixture, network = opened
    texts = texts_folder(fixture, tmp_path / "texts")
    square, name = torch.from_numpy(fixture.films()[0])[None, None], fixture.expected()["names"].tolist()[2]
    asked = ["Coarse net-like lines.", "Patchy shadows."]
    chosen, converted = convert_file(fixture.file(tmp_path), texts=texts, descriptions=asked)
    told = make_network(chosen, converted, fixture.file(tmp_path))
    if (texts / BOOKS).is_file():
        assert "have no answer" in converted.notes[-1]
        with pytest.raises(ModelError, match="import the checkpoint again with the weights of Bio_ClinicalBERT"):
            told.zero_shot(square, asked)
        return
    found = told.zero_shot(square, [asked[1], name, asked[0]])
    torch.testing.assert_close(found.scores[:, 1], network.zero_shot(square, [name]).scores[:, 0])
    vectors = embed_texts(str(texts), asked, "cls", TEST_TOKENS)
    for column, row in ((0, 1), (2, 0)):
        logits, maps = network.answer(network.look(network.prepare(square)), vectors[row : row + 1])
        torch.testing.assert_close(found.scores[:, column], logits.softmax(-1)[:, len(network.entities), 1])
        torch.testing.assert_close(found.maps[:, column].flatten(1), maps.mean(0)[:, len(network.entities)])
