"""GLoRIA's released checkpoint gives what its authors' code gives."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from models.errors import ModelError
from models.released.files.containers import read_content
from models.released.formats import gloria
from models.released.opening import open_file
from tests.models.released.fixtures import close, find_fixtures, some_file

FIXTURES = find_fixtures("gloria")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    fixture, folder = request.param, tmp_path_factory.mktemp("released")
    expected = fixture.expected()
    shutil.copytree(fixture.folder / "bert", folder / "texts")
    prompts = dict(zip(expected["class_names"].tolist(), expected["class_prompts"].tolist(), strict=True))
    (folder / "texts" / gloria.PROMPTS).write_text(json.dumps(prompts))
    path = fixture.file(folder)
    network = open_file(path, texts=folder / "texts")
    with torch.inference_mode():
        pixels = network.films(fixture.films())
        return fixture, path, network, expected, pixels, network.look(pixels)


@torch.inference_mode()
def test_films_are_the_authors(opened):
    fixture, _, network, expected, pixels, (vectors, regions) = opened
    close(pixels[1:3, 0], expected["pixels"])
    pooled, local = network.stages(pixels)
    close(pooled, expected["pooled"])
    kept = expected["stage3_first"]
    step = 16 if (fixture.folder / "recipe.json").exists() else 1
    close(local[0, ::step][: len(kept)], kept)
    close(vectors, expected["image"])
    close(regions[:1], expected["regions"])
    square = torch.from_numpy(fixture.films()[0])[None, None]
    close(network.image_features(square), expected["pooled"][:1])
    assert [maps.shape[2] for maps in network.image_maps(square)] == [171, 86, 43, 22, 11]


@torch.inference_mode()
def test_texts_are_the_authors(opened):
    _, _, network, expected, _, _ = opened
    raw = expected["texts"].tolist()
    tokens, read = network.tokens(raw), network.read(raw)
    assert np.array_equal(tokens.ids, expected["token_ids"])
    assert read.counts.tolist() == expected["word_counts"].tolist()
    said = [network.text.tokenizer.words(gloria.prepared(text)) for text in raw]
    assert [" ".join(["[CLS]", *words, "[SEP]"]) for words in said] == expected["words"].tolist()
    close(read.vectors, expected["text"])
    close(read.words[:2, :20].transpose(1, 2), expected["text_words"])


@torch.inference_mode()
def test_similarities_are_the_authors(opened):
    _, _, network, expected, pixels, (vectors, regions) = opened
    raw = expected["texts"].tolist()
    read = network.read(raw)
    cosines = torch.nn.functional.normalize(vectors) @ torch.nn.functional.normalize(read.vectors).T
    close(cosines, expected["global_similarity"])
    for lengths in ("characters", "words"):
        network.lengths = lengths
        close(network.local_scores(regions, read, raw), expected[f"local_similarity_{lengths}"])
        close(network.scores(pixels, raw), expected[f"similarity_{lengths}"])
    network.lengths = "characters"
    for number, count in enumerate(read.counts.tolist()):
        attention = network.attend(regions[:1], read)[:, number, 1 : count + 1]
        close(attention, expected[f"attention_{number}"])


@torch.inference_mode()
def test_classes_are_scored_as_the_authors_score_them(opened):
    fixture, _, network, expected, pixels, _ = opened
    found = network.class_similarities(pixels, expected["class_prompts"].tolist())
    close(found, expected["class_similarities"])
    close(gloria.standardise(found), expected["class_scores"], 1e-4)
    assert torch.equal(gloria.standardise(found[:1]), found[:1])
    square = torch.from_numpy(fixture.films()[0])[None, None]
    names = expected["class_names"].tolist()
    shot = network.zero_shot(square, names)
    close(shot.scores, 1 / (1 + np.exp(-expected["class_similarities"][:1])))
    close(shot.maps.sum((2, 3)), np.ones((1, len(names)), np.float32))


@torch.inference_mode()
def test_a_phrase_is_where_its_words_look(opened):
    fixture, _, network, expected, _, _ = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.word_maps(square, expected["texts"].tolist()[:1])
    margin, parts = 19, 14  # cells of a film's margin, and those that a region is split into
    middle = found.maps[..., margin:-margin, margin:-margin].unflatten(3, (19, parts)).unflatten(2, (19, parts))
    close(middle.sum((3, 5)), expected["attention_0"])
    close(network.phrase_maps(square, expected["texts"].tolist()[:1]), found.maps.mean(1).numpy())
    assert found.maps[..., :margin].sum() == 0


@torch.inference_mode()
def test_long_and_empty_texts_are_read(opened):
    fixture, _, network, _, _, _ = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.similarity(square, ["", "effusion", "the heart is enlarged. " * 60])
    assert found.isfinite().all()
    shot = network.zero_shot(square, ["pneumothorax", "cardiomegaly"])
    close(shot.maps.sum((2, 3)), np.ones((1, 2), np.float32))
    close(network.phrase_maps(square, ["pneumothorax"]), shot.maps[:, 0].numpy())


def small(tmp_path, change):
    """A tiny checkpoint with changed weights."""
    fixture = some_file("gloria_")
    state = read_content(fixture.file(tmp_path))["state_dict"]
    path = tmp_path / "changed.ckpt"
    torch.save({"state_dict": change(dict(state))}, path)
    return fixture, path


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: without(state, "gloria.img_encoder.global_embedder.bias"), "lacks 1 weights"),
        (lambda state: without(state, "gloria.img_encoder.global_embedder.weight"), "lacks the weight"),
        (lambda state: {**state, "gloria.extra": torch.ones(1)}, "has 1 weights that the network does not"),
        (lambda state: {**state, "gloria.img_encoder.global_embedder.bias": torch.ones(5)}, r"has the shape \(5,\)"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path, change, message):
    fixture, path = small(tmp_path, change)
    with pytest.raises(ModelError, match=message):
        open_file(path, texts=fixture.folder / "bert")


def test_a_classifier_has_an_image_tower_only(tmp_path):
    def classifier(state):
        images = {name.replace("gloria.", "model."): value for name, value in state.items() if "img_encoder" in name}
        width = images["model.img_encoder.global_embedder.weight"].shape[1]
        return {**images, "model.classifier.weight": torch.ones(3, width), "model.classifier.bias": torch.ones(3)}

    fixture, path = small(tmp_path, classifier)
    network = open_file(path)
    film = torch.from_numpy(fixture.films()[0])[None, None]
    with torch.inference_mode():
        close(network.image_features(film), fixture.expected()["pooled"][:1])
        close(network.class_logits(film)[0, 0], np.float32(fixture.expected()["pooled"][0].sum() + 1))
    with pytest.raises(NotImplementedError, match="knows no words"):
        network.embed_texts(["effusion"])
