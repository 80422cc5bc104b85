"""DSVE on tiny networks: its pooled map, its loss, and which parts are trained when."""

import pytest
import torch
import torch.nn.functional as F

from models.encoders.heads.weldon import weldon_pool
from models.errors import ModelError
from models.losses.negatives.hinge import hinge
from models.methods.matching.dsve import DsveConfig
from tests.models.tiny import tiny_batch, tiny_method

TEXTS = ["small left pleural effusion", "no nodule", "heart and lungs are clear and large"]


def loss_of(method, batch=None):
    return method.losses(batch or tiny_batch(method, 5))["hinge"].item()


def test_an_image_is_its_map_pooled_and_projected():
    method = tiny_method("dsve").eval()
    batch = tiny_batch(method, 4)
    with torch.no_grad():
        (*_, last) = method.image_maps(batch.images)
        kernel = method.map_projection.weight[..., None, None]
        maps = F.conv2d(last, kernel, method.map_projection.bias)
        expected = method.image_projection(weldon_pool(maps.flatten(2).mT, 2, 1))
        torch.testing.assert_close(method.encode(batch)["images"], F.normalize(expected, dim=-1))
        torch.testing.assert_close(method.embed_images(batch.images), F.normalize(expected, dim=-1))


@pytest.mark.parametrize("options", [{}, {"hardest": 0}, {"hardest": 3}, {"negated_diagonal": True}, {"total": "sum"}])
def test_the_loss_is_that_of_the_cosines(options):
    method = tiny_method("dsve", **options).eval()
    encoded = method.encode(tiny_batch(method, 5))
    scores = F.cosine_similarity(encoded["images"][:, None], encoded["texts"], dim=-1)
    expected = hinge(scores, 0.2, method.config.hardest, negated_diagonal=method.config.negated_diagonal).item()
    assert loss_of(method) == pytest.approx(expected / (1 if method.config.total == "sum" else 5), rel=1e-5)


def test_texts_of_the_same_words_may_be_spared():
    method = tiny_method("dsve", ignore_equal_texts=True).eval()
    batch = tiny_batch(method, 4)
    batch.tokens.ids[:], batch.tokens.mask[:] = batch.tokens.ids[:1].clone(), batch.tokens.mask[:1].clone()
    assert loss_of(method, batch) == 0


def test_parts_are_released_one_after_another():
    method = tiny_method("dsve").train()
    parts = {"images": (method.image_encoder, method.map_projection), "texts": (method.text_encoder,)}
    for epoch, trained in ((0.0, set()), (2.0, {"texts"}), (7.9, {"texts"}), (8.0, {"texts", "images"})):
        method.zero_grad()
        sum(method.losses(tiny_batch(method, 5)).values()).backward()
        method.on_gradients(epoch)
        for name, modules in parts.items():
            for weights in (weights for module in modules for weights in module.parameters()):
                assert (weights.grad is not None) == (name in trained)
        assert method.image_projection.weight.grad is not None


@pytest.mark.parametrize("name", ["image_dropout", "text_dropout"])
def test_dropout_is_of_training_alone(name):
    method = tiny_method("dsve", **{"image_dropout": 0.0, "text_dropout": 0.0, name: 0.5})
    part = {"image_dropout": "images", "text_dropout": "texts"}[name]
    batch = tiny_batch(method, 4)
    changed = [method.train(training).encode(batch)[part] for training in (True, True, False, False)]
    assert not torch.equal(*changed[:2])
    assert torch.equal(*changed[2:])


@pytest.mark.parametrize("options", [{}, {"cell": "gru"}, {"smallest": 0}, {"largest": 99}])
def test_answers(options):
    method = tiny_method("dsve", **options).eval()
    images = tiny_batch(method, 4).images
    with torch.no_grad():
        answer = method.zero_shot(images, ["Edema", "No Finding"])
        similarity = method.similarity(images, TEXTS)
        alone = torch.cat([method.similarity(image[None], TEXTS) for image in images])
        (*_, last) = method.image_maps(images)
    assert answer.scores.shape == (4, 2)
    assert answer.maps.shape == (4, 2, *last.shape[2:])
    torch.testing.assert_close(similarity, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cell": "lstm"}, "cell is one of gru, sru"),
        ({"largest": 0, "smallest": 0}, "at least one of them above 0"),
        ({"smallest": -1}, "at least one of them above 0"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ModelError, match=said):
        DsveConfig(**options)
