"""ConVIRT on tiny networks: what is trained, what is pooled, and what its options change."""

import pytest
import torch

from models.method import Batch
from models.methods.convirt.config import ConvirtConfig
from models.methods.convirt.network import build

SMALL = {"image_encoder": "resnet18", "image_weights": "", "text_encoder": "bert/2x64", "frozen_layers": 0}
TEXTS = ["There is a pleural effusion.", "No pneumothorax.", "The heart is enlarged today, compared with before."]


def network(**options):
    torch.manual_seed(0)
    return build({**SMALL, "dimension": 16, **options}, [], 64)


@pytest.fixture(scope="module")
def model():
    return network()


def batch(model, texts=TEXTS):
    torch.manual_seed(1)
    return Batch(torch.randint(0, 256, (len(texts), 1, 64, 64), dtype=torch.uint8), model.texts.tokenizer(texts))


def test_the_text_tower_gets_gradients_by_default(model):
    sum(model.losses(batch(model)).values()).backward()
    for tower in (model.text_encoder, model.text_projection, model.image_projection):
        for name, weights in tower.named_parameters():
            # adding the same to all keys changes no attention
            assert name.endswith("key.bias") or weights.grad.any(), name


def test_detached_text_trains_the_image_tower_alone():
    model = network(detach_text=True)
    sum(model.losses(batch(model)).values()).backward()
    assert all(
        weights.grad is None for weights in (*model.text_encoder.parameters(), *model.text_projection.parameters())
    )
    assert all(weights.grad is not None for weights in model.image_encoder.parameters())


def test_embeddings_and_lower_layers_are_frozen():
    model = network(frozen_layers=1)
    trained = {name for name, weights in model.text_encoder.named_parameters() if weights.requires_grad}
    assert trained
    assert all(".layer.1." in name for name in trained)
    assert ConvirtConfig().frozen_layers == 6


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_padding_is_never_pooled(pooling):
    model = network(text_pooling=pooling).eval()
    with torch.no_grad():
        alone = model.embed_texts(TEXTS[1:2])
        together = model.embed_texts(TEXTS)[1:2]
    torch.testing.assert_close(alone, together)
    hidden = torch.tensor([[[1.0, -5.0], [3.0, -7.0], [9.0, 9.0]]])
    expected = {"max": [3.0, -5.0], "mean": [2.0, -6.0]}[pooling]
    assert model.pool(hidden, torch.tensor([[True, True, False]])).tolist() == [expected]


def test_losses_are_those_of_the_equations_with_the_papers_weights(model):
    from models.losses.info_nce import info_nce

    encoded = model.eval().encode(batch(model))
    assert encoded["images"].shape == encoded["texts"].shape == (3, 16)
    (loss,) = model.contrast(encoded).values()
    assert loss.item() == pytest.approx(info_nce(encoded["images"], encoded["texts"], 0.1, 0.75, 0.25).item())


def test_a_sentence_of_three_words_or_more_is_drawn(model):
    assert model.texts.unit == "sentence"
    assert model.texts.minimum_words == 3
    assert set(model.texts.sections) == {"findings", "impression"}
    assert network(sections="impression").texts.sections == ("impression",)


@pytest.mark.parametrize("encoder", [{}, {"image_stage": 3}, {"image_encoder": "vit/2x64p16"}])
def test_answers(encoder):
    model = network(**encoder).eval()
    images = batch(model).images
    with torch.no_grad():
        answer = model.zero_shot(images, ["Edema", "No Finding"])
        similarity = model.similarity(images, TEXTS)
        features = model.image_features(images)
    assert answer.scores.shape == (3, 2)
    assert answer.maps.shape[:2] == (3, 2)
    assert answer.maps.min() >= 0
    assert similarity.shape == (3, 3)
    assert similarity.abs().max() <= 1 + 1e-6
    assert features.shape == (3, model.image_encoder.dim)


def test_a_saved_network_is_built_from_its_state(model):
    state = model.state_dict()
    again = build({**SMALL, "dimension": 16}, [], 64, state)
    again.load_state_dict(state)
    given = batch(model)
    with torch.no_grad():
        torch.testing.assert_close(again.eval().encode(given), model.eval().encode(given))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text_pooling": "sum"}, "text_pooling is `max` or `mean`"),
        ({"image_weight": 1.5}, "image_weight is 1.5"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        ConvirtConfig(**options)
