"""MedCLIP on tiny networks: its labels, what is pooled, its prompts, and what its options change."""

import pytest
import torch
import torch.nn.functional as F

from models.encoders.image import ImageEncoder
from models.methods.contrast.medclip import CHEXPERT, MedclipConfig, class_matches
from models.registry import build_method
from report_parsing.vocabulary import ENTITIES
from tests.models.tiny import KNOWLEDGE, TINY, tiny_batch

TEXTS = ["There is a pleural effusion.", "No pneumothorax.", "The heart is enlarged today, compared with before."]


def network(**options):
    torch.manual_seed(0)
    return build_method("medclip", {**TINY["medclip"], **options}, KNOWLEDGE, 32).double()


@pytest.fixture(scope="module")
def model():
    return network().eval()


def targets(*findings):
    """(texts, positions, entities): of each text a dict of (position, entity) -> 1 or 0."""
    found = torch.full((len(findings), 5, 4), -1, dtype=torch.int8)
    for row, said in enumerate(findings):
        for place, value in said.items():
            found[row][place] = value
    return found


def test_labels_are_the_stated_entities_or_no_finding(model):
    said = targets({(0, 0): 1, (2, 1): 0}, {(1, 2): 0}, {})
    assert model.labels(said).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
    assert network(no_finding=False).labels(said).tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4]
    doubted = targets({(0, 0): -2, (1, 1): -2}, {(0, 2): -2, (1, 2): 1})
    assert model.labels(doubted).tolist() == [[-1, -1, 0, 0, 0], [0, 0, 1, 0, 0]]
    assert model.knows(doubted).all()
    joined = network(label_entities="effusion+edema,nodule")
    assert joined.labels(targets({(0, 2): 1}, {(3, 1): 1})).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert model.knows(said).tolist() == [True, True, False]
    assert network(unknown_labels="no_finding").knows(said).all()


def test_the_default_labels_are_of_the_knowledge():
    assert {name for label in CHEXPERT.split(",") for name in label.split("+")} <= set(ENTITIES)
    assert len(CHEXPERT.split(",")) == 13
    with pytest.raises(ValueError, match="label_entities names `measles`"):
        network(label_entities="measles")


def test_pairs_that_say_the_same_share_their_targets(model):
    """Two images and sentences of one finding: exchanging the sentences changes nothing."""
    encoded = model.encode(tiny_batch(model, 4))
    labels = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]]).double()
    encoded |= {"image_labels": labels, "text_labels": labels, "known": torch.ones(4, dtype=torch.bool)}
    exchanged = encoded | {"texts": encoded["texts"][[2, 3, 0, 1]]}
    torch.testing.assert_close(model.contrast(encoded), model.contrast(exchanged))
    unknown = encoded | {"known": torch.zeros(4, dtype=torch.bool)}
    logits = model.logits(encoded["images"], encoded["texts"])
    pairs = torch.arange(4)
    expected = (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
    torch.testing.assert_close(model.contrast(unknown)["matching"], expected)


@pytest.mark.parametrize("changed", [{"label_similarity": "dot"}, {"target_temperature": 0.2}])
def test_options_of_the_targets_change_the_loss(model, changed):
    encoded = model.encode(tiny_batch(model, 6))
    assert network(**changed).eval().contrast(encoded)["matching"] != model.contrast(encoded)["matching"]


def test_the_scale_is_kept_within_bounds_and_its_gradient_goes_on():
    model = network()
    for start, kept in ((7.0, 4.6052), (-1.0, 0.0)):
        model.logit_scale.data.fill_(start)
        model.on_step_start()
        assert model.logit_scale.item() == pytest.approx(kept)
        model.zero_grad()
        sum(model.losses(tiny_batch(model, 4)).values()).backward()
        assert model.logit_scale.grad.abs() > 0


def test_a_changed_copy_is_contrasted_in_training_alone():
    model = network(changed_copy=True)
    batch = tiny_batch(model, 4)
    assert "changed_texts" not in model.eval().encode(batch)
    encoded = model.train().encode(batch)
    alone = [model.contrast({**encoded, "texts": encoded[name], "changed_texts": encoded[name]})["matching"]
             for name in ("texts", "changed_texts")]  # fmt: skip
    torch.testing.assert_close(model.contrast(encoded)["matching"], (alone[0] + alone[1]) / 2)


@torch.no_grad()
def test_padding_is_not_pooled_unless_it_is_asked_for(model):
    together, alone = model.embed_texts(TEXTS)[:1], model.embed_texts(TEXTS[:1])
    torch.testing.assert_close(together, alone)
    layers = torch.randn(4, 2, 5, 3).unbind(0)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    tokens = (layers[1] + layers[2] + layers[3]) / 3
    torch.testing.assert_close(model.pool(layers, mask), torch.stack([tokens[0].mean(0), tokens[1, :2].mean(0)]))
    torch.testing.assert_close(network(padding="counted").pool(layers, mask), tokens.mean(1))


@pytest.mark.parametrize("aggregation", ["embeddings", "max", "logits"])
def test_class_matches(aggregation):
    generator = torch.Generator().manual_seed(0)
    images, *groups = (F.normalize(torch.randn(rows, 6, generator=generator), dim=-1) for rows in (3, 4, 2))
    found = class_matches(images, groups, aggregation)
    for row, image in enumerate(images):
        for column, group in enumerate(groups):
            cosines = [float(image @ prompt) for prompt in group]
            expected = max(cosines) if aggregation == "max" else sum(cosines) / len(cosines)
            if aggregation == "embeddings":
                expected /= float(group.mean(0).norm())
            assert found[row, column].item() == pytest.approx(expected, abs=1e-6)


@torch.no_grad()
def test_answers(model):
    images = tiny_batch(model, 3).images
    queries = ["Edema", "No Finding", "scoliosis"]
    answer = model.zero_shot(images, queries)
    assert answer.scores.shape == (3, 3)
    assert answer.maps.shape == (3, 3, 4, 4)
    assert 0 <= answer.scores.min() <= answer.scores.max() <= 1
    assert not torch.equal(answer.scores, network(negatives=True).eval().zero_shot(images, queries).scores)
    assert len(model.prompts_of("Edema")) == 10
    assert model.prompts_of("scoliosis") == ["scoliosis"]
    torch.testing.assert_close(model.image_features(images)[:1], model.image_features(images[:1]))


@torch.no_grad()
def test_a_swin_transformer_is_pooled_behind_its_norm():
    encoder = ImageEncoder("swin_tiny_patch4_window7_224", 64).eval()
    images = torch.randn(2, 1, 64, 64)
    features = encoder(images)
    assert features.grid == (2, 2)
    torch.testing.assert_close(features.pooled, encoder.network(images))
    torch.testing.assert_close(features.local.mean(1), features.pooled)
    assert [tuple(found.shape[1:]) for found in encoder.maps(images)] == [
        (96, 16, 16),
        (192, 8, 8),
        (384, 4, 4),
        (768, 2, 2),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label_similarity": "jaccard"}, "label_similarity is cosine or dot"),
        ({"target_temperature": 0.0}, "target_temperature divides"),
        ({"temperature": 0.005}, "temperature is 0.005, but must lie in 0.01..1"),
        ({"temperature": 5.0}, "temperature is 5.0, but must lie in 0.01..1"),
        ({"prompt_aggregation": "mean"}, "prompt_aggregation is embeddings or max or logits"),
        ({"unknown_labels": "no_finding", "no_finding": False}, "unknown_labels is `no_finding`, but no_finding is"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ValueError, match=said):
        MedclipConfig(**options)
