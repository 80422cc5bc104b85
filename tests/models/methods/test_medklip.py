"""MedKLIP as a module: options, unseen queries, and mistakes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import models.methods.medklip.network as module
from models.encoders.image import ImageFeatures
from models.method import Batch
from models.methods.medklip.config import TRAINING, MedklipConfig
from models.methods.medklip.network import FrozenTexts, Medklip, build, existence_labels
from models.registry import method_names

CONFIG = MedklipConfig(width=16, heads=2, layers=2, feed_forward=16, dropout=0.0, initialisation="xavier")
ENTITIES = ["effusion", "nodule", "edema"]


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, 8, stride=8)

    def forward(self, images):
        local = self.convolution(images).flatten(2).transpose(1, 2)
        return ImageFeatures(local.mean(1), local, (images.shape[2] // 8, images.shape[3] // 8))


def network(config: MedklipConfig = CONFIG) -> Medklip:
    torch.manual_seed(0)
    books = torch.randn(3, 12), torch.randn(5, 12)
    return Medklip(config, Patches(), 8, ENTITIES, *books, FrozenTexts(config, ENTITIES), size=32).eval()


def batch() -> Batch:
    torch.manual_seed(1)
    targets = torch.full((4, 5, 3), -1, dtype=torch.int8)
    targets[:, 0, 0] = torch.tensor([1, 0, 1, 0])
    targets[0, 3, 1] = 1
    return Batch(torch.rand(4, 1, 32, 32) * 255, targets=targets)


@pytest.fixture
def embedded(monkeypatch) -> list:
    """The texts that were asked for, each with its own random vector."""
    asked = []

    def embed(name, texts, pooling, length, device=None):
        asked.extend(texts)
        seeds = [sum(map(ord, text)) + length for text in texts]
        return torch.stack([torch.randn(12, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    monkeypatch.setattr(module, "embed_texts", embed)
    return asked


def test_methods_are_the_files_of_the_folder():
    assert "medklip" in method_names()


def test_a_label_is_present_if_it_is_anywhere():
    targets = torch.tensor([[[-1, 0, 1, -1]], [[-1, 0, 0, 0]], [[-1, -1, -1, -1]]], dtype=torch.int8)
    matrix = torch.cat([targets, targets.flip(-1)], dim=1)
    assert existence_labels(matrix).tolist() == [[-1, 1, 1, -1], [0, 0, 0, 0], [-1, -1, -1, -1]]


def test_zero_shot_gives_a_probability_and_a_map_for_every_query():
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        answer = network().zero_shot(images, ["edema", "effusion"])
        whole = network().zero_shot(images, ENTITIES)
    assert answer.scores.shape == (2, 2)
    assert answer.maps.shape == (2, 2, 4, 4)
    assert torch.allclose(answer.maps.sum((2, 3)), torch.ones(2, 2), atol=1e-5)
    assert torch.allclose(answer.scores, whole.scores[:, [2, 0]])  # the training queries stay in place


def test_an_unseen_query_is_embedded_once_and_changes_no_other_answer(embedded):
    images, disease = batch().images, "a new viral disease with hazy patches"
    model = network()
    with torch.no_grad():
        both = model.zero_shot(images, [disease, "nodule", "another"])
        alone = model.zero_shot(images, [disease])
        known = model.zero_shot(images, ENTITIES)
    assert embedded == [disease, "another"]
    assert torch.allclose(both.scores[:, 0], alone.scores[:, 0], atol=1e-6)
    assert torch.allclose(both.maps[:, 0], alone.maps[:, 0], atol=1e-6)
    assert torch.allclose(both.scores[:, 1], known.scores[:, 1], atol=1e-6)


def test_joined_queries_change_each_other(embedded):
    model = network(replace(CONFIG, unseen_queries="joined"))
    with torch.no_grad():
        both = model.zero_shot(batch().images, ["unseen", "nodule"]).scores
        known = model.zero_shot(batch().images, ["nodule"]).scores
    assert not torch.allclose(both[:, 1], known[:, 0], atol=1e-6)


def test_texts_are_scored_each_by_itself(embedded):
    texts = ["left effusion", "no effusion", "left effusion"]
    with torch.no_grad():
        scores = network().similarity(batch().images, texts)
        single = [network().similarity(batch().images, [text]) for text in texts]
    assert scores.shape == (4, 3)
    assert torch.allclose(scores, torch.cat(single, 1), atol=1e-6)
    assert not torch.allclose(scores[:, 0], scores[:, 1])


def test_descriptions_may_be_cut_to_another_length_at_test(embedded):
    model = network(replace(CONFIG, test_description_tokens=64))
    with torch.no_grad():
        scores = model.zero_shot(batch().images, ENTITIES).scores
    assert embedded == ENTITIES
    assert not torch.allclose(scores, network().zero_shot(batch().images, ENTITIES).scores)


def test_features_for_probes_are_the_encoders():
    with torch.no_grad():
        model = network()
        expected = model.backbone(model.prepare(batch().images)).pooled
        assert torch.allclose(model.image_features(batch().images), expected)


def test_where_is_answered_for_every_entity():
    with torch.no_grad():
        model = network()
        logits = model.position_logits(batch().images)
    assert logits.shape == (4, 3, 5)
    assert logits.std() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"existence_head": "softmax"},
        {"layers": 1},
        {"heads": 4},
        {"width": 32},
        {"feed_forward": 8},
        {"initialisation": "normal"},
        {"centre_texts": True},
        {"position_weight": 0.5},
        {"position_weight": 0.0},
        {"excluded_entities": "effusion"},
        {"negatives": 2},
    ],
    ids=str,
)
def test_every_option_changes_the_loss(change):
    def loss(config: MedklipConfig) -> float:
        model, batched = network(config), batch()
        torch.manual_seed(2)
        return sum(model.losses(batched).values()).item()

    assert loss(CONFIG) == loss(CONFIG)
    assert loss(replace(CONFIG, **change)) != loss(CONFIG)


def test_excluded_entities_reach_no_loss():
    model = network(replace(CONFIG, excluded_entities="effusion, nodule"))
    terms = model.losses(batch())
    assert terms["position"].item() == 0  # only those two are present
    assert terms["existence"].item() == 0


def test_negatives_of_the_whole_matrix_may_be_true_positions():
    batched = batch()
    batched.targets[:, 0, 0] = 1
    drawn = {}
    for scope in ("entity", "matrix"):
        torch.manual_seed(0)
        samples = [module.sample_positions(batched.targets, 4, scope) for _ in range(20)]
        true = [batched.targets[w[:, :1], c[:, 1:], w[:, 1:]] == 1 for w, c in samples]
        drawn[scope] = bool(torch.cat(true).any())
    assert drawn == {"entity": False, "matrix": True}


def test_dropout_acts_in_training_only():
    model = network(replace(CONFIG, dropout=0.5))
    batched = batch()
    first, second = (model.losses(batched)["existence"].item() for _ in range(2))
    assert first == second
    model.train()
    first, second = (model.losses(batched)["existence"].item() for _ in range(2))
    assert first != second


def test_without_the_position_loss_there_is_one_term():
    assert set(network().losses(batch())) == {"existence", "position"}
    assert set(network(replace(CONFIG, position_weight=0.0)).losses(batch())) == {"existence"}


def test_a_batch_that_mentions_nothing_trains_without_nan():
    model = network()
    terms = model.losses(Batch(torch.rand(2, 1, 32, 32), targets=torch.full((2, 5, 3), -1, dtype=torch.int8)))
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_books_are_saved_and_moved_with_the_network():  # the authors' are neither
    model = network().double()
    assert {"entity_book", "position_book"} <= set(model.state_dict())
    assert model.entity_book.dtype == model.position_book.dtype == torch.float64


def test_parts_of_a_batch_join_to_the_losses_of_the_whole():
    model, batched = network(), batch()
    torch.manual_seed(3)
    whole = model.losses(batched)
    parts = [model.encode(batched.part(rows)) for rows in (slice(0, 1), slice(1, 4))]
    torch.manual_seed(3)
    joined = model.contrast({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    assert all(torch.allclose(joined[name], whole[name], atol=1e-6) for name in whole)


def test_the_recipe_never_mirrors_an_image_under_its_old_positions():  # the authors' does
    assert TRAINING["augmentation"]["flip_sides"] == "swap"


KNOWLEDGE = [
    *({"kind": "entity", "name": name, "description": f"an image that shows {name}"} for name in ENTITIES),
    *({"kind": "position", "name": name, "description": name} for name in ("left_pleural", "right_pleural")),
]
POSITION_TEXTS = ["It is located at left_pleural", "It is located at right_pleural"]
OFFLINE = {"text_encoder": "all-MiniLM-L6-v2", "text_pooling": "mean", "width": 16, "feed_forward": 16}


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "an image that shows {}"), ({"describe": False}, "{}"), ({"named": True}, "{0}: an image that shows {0}")],
)
def test_entities_are_put_into_words(embedded, options, expected):
    build({**OFFLINE, "image_encoder": "resnet10t", **options}, KNOWLEDGE, 64)
    assert embedded == [*(expected.format(name) for name in ENTITIES), *POSITION_TEXTS]


def test_a_vision_transformer_gives_its_patches_and_keeps_its_own_weights(embedded):
    model = build({**OFFLINE, "image_encoder": "vit/2x64p16"}, KNOWLEDGE, 64).eval()
    with torch.no_grad():
        answer = model.zero_shot(torch.rand(2, 1, 64, 64) * 255, ["nodule"])
    assert answer.maps.shape == (2, 1, 4, 4)
    std = float(model.backbone.network.blocks[0].mlp.fc1.weight.detach().std())
    other = build({**OFFLINE, "image_encoder": "vit/2x64p16", "initialisation": "xavier"}, KNOWLEDGE, 64)
    assert float(other.backbone.network.blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(std, rel=0.05)


def test_a_saved_network_needs_no_text_encoder_until_an_unseen_disease_is_asked_for(embedded, monkeypatch):
    options = {**OFFLINE, "image_encoder": "resnet10t"}
    state = build(options, KNOWLEDGE, 64).state_dict()
    embedded.clear()
    loaded = build(options, KNOWLEDGE, 64, state).eval()
    loaded.load_state_dict(state)
    with torch.no_grad():
        loaded.zero_shot(torch.rand(1, 1, 64, 64), ["nodule"])
        assert embedded == []
        loaded.zero_shot(torch.rand(1, 1, 64, 64), ["a new disease"])
    assert embedded == ["a new disease"]


def test_the_text_encoder_of_an_unseen_disease_that_is_missing_is_one_sentence(tmp_path):
    model = network(replace(CONFIG, text_encoder=str(tmp_path)))
    with pytest.raises(ValueError, match="files of that folder are missing"):
        model.zero_shot(batch().images, ["a new disease"])


def test_the_bundled_text_encoder_needs_no_network():
    model = build({**OFFLINE, "image_encoder": "resnet10t", "image_stage": 2}, KNOWLEDGE, 64)
    assert model.entity_book.shape == (3, 384)
    plain = build({**OFFLINE, "image_encoder": "resnet10t", "describe": False}, KNOWLEDGE, 64)
    assert not torch.equal(model.entity_book, plain.entity_book)
    assert not model.entity_book.requires_grad


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"existence_head": "maybe"}, "existence_head"),
        ({"text_pooling": "max"}, "text_pooling"),
        ({"initialisation": "zeros"}, "initialisation"),
        ({"image_encoder": "resnet5000"}, "resnet5000"),
        ({"negative_scope": "picture"}, "negative_scope"),
        ({"unseen_queries": "mixed"}, "unseen_queries"),
        ({"excluded_entities": "effusion, fibrosis"}, "fibrosis"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build({**OFFLINE, **options}, KNOWLEDGE, 64)


def test_a_text_encoder_that_is_nowhere_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="files of that folder are missing"):
        build({**OFFLINE, "text_encoder": str(tmp_path)}, KNOWLEDGE, 64)


def test_image_weights_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"something.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="lacks"):
        build(
            {**OFFLINE, "image_encoder": "resnet10t", "image_weights": str(tmp_path / "weights.safetensors")},
            KNOWLEDGE,
            64,
        )
