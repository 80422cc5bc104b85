"""BioViL's and BioViL-T's released files give what the authors' code gives."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.encoders.patch_maps import smoothed_cosines
from models.errors import ModelError
from models.released.formats.biovil import stretch
from models.released.opening import open_file
from models.released.parts.bert import Prompts
from tests.models.released.fixtures import close, find_fixtures, some_file

FIXTURES = find_fixtures("biovil")


def texts_folder(fixture, folder):
    """The folder of the text encoder with its weights."""
    shutil.copytree(fixture.folder / "text", folder)
    if (fixture.folder / "recipe.json").exists():
        torch.save(fixture.groups()["text"], folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    folder = tmp_path_factory.mktemp("released")
    network = open_file(request.param.file(folder), texts=texts_folder(request.param, folder / "texts"))
    return request.param, network


@torch.inference_mode()
def test_films_vectors_and_maps_are_the_authors(opened):
    fixture, network = opened
    expected = fixture.expected()
    films, texts = fixture.films(), expected["texts"].tolist()
    pixels = network.films(films)
    close(pixels[1:2, 0], expected["pixels"])
    patches = network.patches(pixels)
    close(patches.mean((2, 3)), expected["pooled"])
    close(patches[0, :, :4, :4], expected["patches_first"])
    vectors, local, grid = network.project_patches(patches)
    close(local.mT.unflatten(-1, grid)[:1], expected["projected_patches"])
    close(vectors, expected["image"])
    units = F.normalize(vectors, dim=-1)
    if "image_unit" in expected:
        close(units, expected["image_unit"])
    tokens = network.text.tokenizer(texts)
    close(tokens.ids, expected["token_ids"], 0)
    close(network.project_texts(tokens), expected["text"])
    text_units = network.embed_texts(texts)
    close(text_units, expected["text_unit"])
    close(units @ text_units.T, expected["similarity"])
    close(units @ network.prompt_vector(texts), expected["similarity_all_prompts"])
    close(smoothed_cosines(local, text_units[:1], grid)[:, 0], expected["patch_map"])
    close(network.film_map(films[1], texts[0]), expected["map_1"])


@torch.inference_mode()
def test_a_previous_film_counts_as_in_the_authors_code(opened):
    fixture, network = opened
    expected = fixture.expected()
    if "pooled_with_previous" not in expected:
        assert not hasattr(network, "vit_pooler")
        return
    film, previous = (network.films([film]) for film in fixture.films()[:2])
    patches = network.patches(film, previous)
    close(patches.mean((2, 3)), expected["pooled_with_previous"])
    close(network.project_patches(patches)[0], expected["image_with_previous"])


@torch.inference_mode()
def test_a_finding_has_a_score_and_a_map_on_the_whole_film(opened):
    fixture, network = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.zero_shot(square, ["edema", "pneumothorax"])
    seen = network.cropped // 32
    side = 2 * seen + 2 if network.cropped == 480 else seen + 2
    assert found.maps.shape == (1, 2, side, side)
    assert (found.maps[..., 0] == 0).all()
    assert (found.maps[..., 1:-1, 1:-1] > 0).all()
    texts = ["Findings suggesting edema", "No evidence of edema"]
    positive, negative = network.similarity(square, texts)[0].tolist()
    assert found.scores[0, 0] == pytest.approx(1 / (1 + math.exp(negative - positive)), abs=1e-6)
    maps = network.phrase_maps(square.expand(2, -1, -1, -1), ["small effusion", texts[0]])
    assert torch.allclose(maps[1], found.maps[0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("projector.model.3.bias"), "lacks 1 weights, the first is `projector.3.bias`"),
        (lambda state: state.update({"encoder.extra": torch.ones(2)}), "has 1 weights .* `encoder.extra`"),
        (lambda state: state.update({"projector.model.0.weight": torch.ones(2)}), "needs 2 axes"),
    ],
)
def test_a_wrong_file_is_one_sentence(change, said, tmp_path):
    fixture = some_file("biovil_")
    state = torch.load(fixture.file(tmp_path), weights_only=True)
    change(state)
    torch.save(state, tmp_path / "changed.pt")
    with pytest.raises(ModelError, match=said):
        open_file(tmp_path / "changed.pt", texts=fixture.folder / "text")


def test_the_text_encoder_is_needed_with_its_weights(tmp_path):
    fixture = some_file("biovil_")
    with pytest.raises(ModelError, match="none was given"):
        open_file(fixture.file(tmp_path))
    texts = texts_folder(fixture, tmp_path / "text")
    (texts / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match="lacks its weights, model"):
        open_file(fixture.file(tmp_path), texts=texts)


def test_a_film_is_stretched_to_all_grey_levels():
    film = np.array([[100, 150], [180, 200]], np.uint8)
    assert stretch(film).tolist() == [[0, 127], [204, 255]]
    assert stretch(np.full((2, 2), 7, np.uint8)).max() == 0


def test_a_vocabulary_of_a_program_is_read_without_it(tmp_path):
    fixture = some_file("biovil_")
    texts = texts_folder(fixture, tmp_path / "text")
    settings = json.loads((texts / "tokenizer_config.json").read_text())
    named = {"tokenizer_class": "CXRBertTokenizer", "auto_map": {"AutoTokenizer": ["m.CXRBertTokenizer", None]}}
    (texts / "tokenizer_config.json").write_text(json.dumps(settings | named))
    assert Prompts(str(texts), 512).encode(["Edema."]) == Prompts(str(fixture.folder / "text"), 512).encode(["edema"])
