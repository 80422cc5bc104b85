"""VSE++ on tiny networks: what its options change, and when the hardest negative alone counts."""

import pytest
import torch

from models.errors import ModelError
from models.losses.negatives.hinge import hinge
from models.losses.negatives.similarities import similarities
from models.methods.matching import vsepp
from models.methods.matching.vsepp import VseppConfig
from tests.models.tiny import tiny_batch, tiny_method

TEXTS = ["small left pleural effusion", "no nodule", "heart and lungs are clear and large"]


def loss_of(method, batch=None):
    return method.losses(batch or tiny_batch(method, 5))["hinge"].item()


def test_the_loss_is_divided_by_the_batch_unless_the_sum_is_asked_for():
    mean, total = (tiny_method("vsepp", total=given).eval() for given in ("mean", "sum"))
    assert loss_of(total) == pytest.approx(5 * loss_of(mean))
    encoded = mean.encode(tiny_batch(mean, 5))
    scores = torch.nn.functional.cosine_similarity(encoded["images"][:, None], encoded["texts"], dim=-1)
    assert loss_of(mean) == pytest.approx(hinge(scores, 0.2).item() / 5, rel=1e-5)


def test_all_negatives_count_before_the_hardest_alone():
    hard, every, later = (
        tiny_method("vsepp", **options).eval() for options in ({}, {"hardest": False}, {"hard_after_epoch": 2.0})
    )
    assert loss_of(hard) < loss_of(every)
    for epoch, expected in ((0.0, every), (1.9, every), (2.0, hard), (7.0, hard)):
        later.on_gradients(epoch)
        assert loss_of(later) == pytest.approx(loss_of(expected))
    again = tiny_method("vsepp", hard_after_epoch=2.0).eval()
    again.load_state_dict(later.state_dict())  # as a resumed run does
    assert loss_of(again) == pytest.approx(loss_of(hard))


def test_texts_of_the_same_words_may_be_spared():
    plain, sparing = (tiny_method("vsepp", ignore_equal_texts=given).eval() for given in (False, True))
    batch = tiny_batch(plain, 4)
    assert loss_of(plain, batch) == pytest.approx(loss_of(sparing, batch))
    batch.tokens.ids[:], batch.tokens.mask[:] = batch.tokens.ids[:1].clone(), batch.tokens.mask[:1].clone()
    assert loss_of(plain, batch) == pytest.approx(2 * 0.2, rel=0.2)
    assert loss_of(sparing, batch) == 0


def test_the_image_encoder_is_frozen_at_first():
    method = tiny_method("vsepp", frozen_image_epochs=3.0).train()
    for epoch, trained in ((0.0, False), (2.9, False), (3.0, True)):
        method.zero_grad()
        sum(method.losses(tiny_batch(method, 5)).values()).backward()
        method.on_gradients(epoch)
        assert all((weights.grad is not None) == trained for weights in method.image_encoder.parameters())
        assert all(weights.grad is not None for weights in method.text_encoder.parameters())
        assert method.image_projection.weight.grad is not None


def test_order_embeddings(monkeypatch):
    options = {"measure": "order", "absolute": True, "normalise_images": False, "margin": 0.05}
    method = tiny_method("vsepp", **options).eval()
    batch = tiny_batch(method, 4)
    with torch.no_grad():
        encoded = method.encode(batch)
        found = method.similarity(batch.images, TEXTS)
        projected = method.project(method.image_features(batch.images))
        expected = similarities(projected, method.embed_texts(TEXTS), "order")
    assert min(value.min() for name, value in encoded.items() if name != "words") >= 0
    assert found.max() <= 0
    torch.testing.assert_close(found, expected)
    monkeypatch.setattr(vsepp, "MOST_NUMBERS", 1)  # one image after the other
    with torch.no_grad():
        torch.testing.assert_close(method.similarity(batch.images, TEXTS), expected)
    assert loss_of(method, batch) != pytest.approx(loss_of(tiny_method("vsepp").eval(), batch))


@pytest.mark.parametrize("options", [{}, {"normalise_features": False}, {"normalise_images": False}])
def test_answers(options):
    method = tiny_method("vsepp", **options).eval()
    images = tiny_batch(method, 4).images
    with torch.no_grad():
        answer = method.zero_shot(images, ["Edema", "No Finding"])
        similarity = method.similarity(images, TEXTS)
        alone = torch.cat([method.similarity(image[None], TEXTS) for image in images])
    assert answer.scores.shape == (4, 2)
    assert answer.maps.shape[:2] == (4, 2)
    torch.testing.assert_close(similarity, alone, rtol=1e-4, atol=1e-6)
    if method.config.normalise_images:
        torch.testing.assert_close(similarity, method.embed_images(images) @ method.embed_texts(TEXTS).T)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"measure": "dot"}, "measure is one of cosine, order"),
        ({"total": "max"}, "total is one of mean, sum"),
        ({"hardest": False, "hard_after_epoch": 2.0}, "hard_after_epoch is 2.0, but hardest is false"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ModelError, match=said):
        VseppConfig(**options)
