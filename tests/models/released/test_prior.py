"""PRIOR's released checkpoint gives what the authors' code gives."""

from __future__ import annotations

import pytest
import torch

from models.errors import ModelError
from models.released.formats import prior
from models.released.opening import fill, open_file
from tests.models.released.fixtures import close, find_fixtures

FIXTURES = find_fixtures("prior")


@pytest.fixture(scope="module", params=FIXTURES or [None], ids=lambda found: found.name if found else "absent")
def opened(request, tmp_path_factory):
    """A fixture, the network of its file, and what the file holds."""
    if request.param is None:
        pytest.skip("no fixtures of released checkpoints: set RADALIGN_RELEASED to their folder")
    content = request.param.content()
    path = tmp_path_factory.mktemp("released") / "prior_resnet50.pt"
    torch.save(content, path)
    return request.param, open_file(path, texts=request.param.folder / "bert"), content


@torch.inference_mode()
def test_films_vectors_and_scores_are_the_authors(opened):
    fixture, network, _ = opened
    expected = fixture.expected()
    pixels = network.films(fixture.films())
    close(pixels[1:3, 0], expected["pixels"])
    pooled, places = network.look(pixels)
    close(pooled, expected["image_pooled"])
    close(places[0, :40], expected["image_local_first"])
    close(network.global_image_projection(pooled), expected["image"])
    close(network.local_image_projection(places)[:1], expected["regions"])
    queries = expected["queries"].tolist()
    tokens = network.text.tokenizer(queries)
    close(tokens.ids, expected["token_ids"][:, : tokens.ids.shape[1]], 0)
    texts = network.read(queries)
    close(texts, expected["text_before_bank"])
    torch.manual_seed(0)
    chosen = network.from_bank(texts, noise=True)
    close(chosen, expected["text_local"][:, 0])
    close(network.text_pool(chosen[:, None]), expected["text_global"])
    logits, local = network.match(pooled, places, chosen)
    close(logits, expected["logits"])
    close(local, expected["local_scores"])
    close(prior.total(logits, local), expected["scores"])


@torch.inference_mode()
def test_findings_are_scored_without_noise(opened):
    fixture, network, _ = opened
    square = torch.from_numpy(fixture.films()[0])[None, None]
    found = network.zero_shot(square, ["Edema", "Atelectasis"])
    again = network.zero_shot(square, ["Edema", "Atelectasis"])
    assert torch.equal(found.scores, again.scores)
    assert found.scores.sum() == pytest.approx(1, abs=1e-6)
    assert found.maps.tolist() == [[[[1.0]], [[1.0]]]]
    assert 0 < network.zero_shot(square, ["Edema"]).scores.item() < 1
    texts = network.read(["Edema is observed"])
    torch.manual_seed(0)
    drawn = network.from_bank(texts.expand(400, -1), noise=True)
    assert not torch.allclose(drawn[0], drawn[1])
    assert torch.cosine_similarity(drawn.mean(0), network.from_bank(texts)[0], dim=0) > 0.8


def test_a_wrong_file_is_one_sentence(opened, tmp_path):
    fixture, network, content = opened
    texts, path = fixture.folder / "bert", tmp_path / "prior.pt"

    def refused(said, name, tensor=None):
        weights = {key: value for key, value in content.items() if key != name}
        changed = weights if tensor is None else {**weights, name: tensor}
        with pytest.raises(ModelError, match=said):
            fill(network, prior.convert(changed, texts).state, path)

    refused("lacks 1 weights, the first is `text_pool.q_proj.bias`", "global_text_attention.q_proj.bias")
    refused("lacks the weight `sentence_bank.embed.weight`", "sentence_bank.embed.weight")
    refused("has 1 weights .* `item_gather.query`", "item_gather.query", torch.ones(2))
    refused(r"`text_pool.q_proj.bias` has the shape \(3,\)", "global_text_attention.q_proj.bias", torch.ones(3))
