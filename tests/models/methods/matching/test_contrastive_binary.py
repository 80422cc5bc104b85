"""Contrastive-Binary-Loss on tiny networks: true and false pairs, and the ranking of texts by the logit."""

import pytest
import torch

from models.errors import ModelError
from models.losses.negatives.mismatched import mismatched
from models.methods.matching.contrastive_binary import ContrastiveBinaryConfig
from tests.models.tiny import tiny_batch, tiny_method

TEXTS = ["small left pleural effusion", "no nodule", "heart and lungs are clear and large"]


@pytest.fixture
def method():
    return tiny_method("contrastive_binary").eval()


@pytest.mark.parametrize("product", [False, True])
def test_the_loss_is_that_of_true_and_false_pairs(product):
    method = tiny_method("contrastive_binary", product=product).double().eval()
    prepare = method.prepare
    method.prepare = lambda images: prepare(images).double()
    encoded = method.encode(tiny_batch(method, 5))
    torch.manual_seed(3)
    (loss,) = method.contrast(encoded).values()
    torch.manual_seed(3)
    others, known = mismatched(encoded["words"])
    assert known.all()
    total = 0.0
    for row, other in enumerate(others.tolist()):
        for text, sign in ((row, 1), (other, -1)):
            image, words = encoded["images"][row], encoded["texts"][text]
            logit = method.head.layers(torch.cat([image, words, image * words] if product else [image, words]))
            total -= torch.log(torch.sigmoid(sign * logit)).item() / 10
    assert loss.item() == pytest.approx(total, rel=1e-10)


def test_a_text_of_the_same_words_is_no_false_pair(method):
    batch = tiny_batch(method, 4)
    batch.tokens.ids[1], batch.tokens.mask[1] = batch.tokens.ids[0].clone(), batch.tokens.mask[0].clone()
    words = method.encode(batch)["words"]
    assert words[0] == words[1]
    for _ in range(10):
        others, _ = mismatched(words)
        assert others[0] != 1
        assert others[1] != 0


def test_similarity_is_the_logit_of_every_pair(method):
    images = tiny_batch(method, 4).images
    with torch.no_grad():
        found = method.similarity(images, TEXTS)
        for row, image in enumerate(images):
            for column, text in enumerate(TEXTS):
                alone = method.similarity(image[None], [text])
                torch.testing.assert_close(found[row, column], alone[0, 0], rtol=1e-4, atol=1e-5)
    with pytest.raises(NotImplementedError, match="no zero-shot"):
        method.zero_shot(images, ["effusion"])


def test_texts_are_pooled_by_the_maximum_of_their_tokens(method):
    tokens = method.texts.tokens(TEXTS, torch.device("cpu"))
    with torch.no_grad():
        hidden = method.text_encoder(tokens).tokens
        for row, vector in zip(range(3), method.read(tokens), strict=True):
            pooled = hidden[row, tokens.mask[row]].max(0).values
            torch.testing.assert_close(method.text_projection(pooled), vector)


def test_what_is_read():
    assert tiny_method("contrastive_binary").texts.unit == "sentence"
    assert tiny_method("contrastive_binary").texts.minimum_words == 3
    whole = tiny_method("contrastive_binary", unit="report", sections="impression").texts
    assert (whole.unit, whole.sections, whole.minimum_words) == ("report", ("impression",), 1)
    with pytest.raises(ModelError, match="unit is `report` or `sentence`"):
        ContrastiveBinaryConfig(unit="page")
