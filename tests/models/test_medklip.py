"""MedKLIP as a module: options, unseen queries, and mistakes."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.method import Batch
from models.methods.medklip import Medklip, MedklipConfig, build, existence_labels
from models.registry import method_names

CONFIG = MedklipConfig(width=16, heads=2, layers=2, feed_forward=16, dropout=0.0, initialisation="xavier")
ENTITIES = ["effusion", "nodule", "edema"]


def network(config: MedklipConfig = CONFIG) -> Medklip:
    torch.manual_seed(0)
    backbone = nn.Conv2d(1, 8, 8, stride=8)
    return Medklip(config, backbone, 8, ENTITIES, torch.randn(3, 12), torch.randn(5, 12)).eval()


def batch() -> Batch:
    torch.manual_seed(1)
    targets = torch.full((4, 5, 3), -1, dtype=torch.int8)
    targets[:, 0, 0] = torch.tensor([1, 0, 1, 0])
    targets[0, 3, 1] = 1
    return Batch(torch.randn(4, 1, 32, 32), targets)


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


def test_an_unseen_query_is_embedded_and_appended(monkeypatch):
    import models.methods.medklip as module

    asked = []

    def embed(name, texts, pooling):
        asked.extend(texts)
        return torch.ones(len(texts), 12)

    monkeypatch.setattr(module, "embed_texts", embed)
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        answer = network().zero_shot(images, ["a new viral disease with hazy patches", "nodule"])
    assert asked == ["a new viral disease with hazy patches"]
    assert answer.scores.shape == (2, 2)


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
    ],
    ids=str,
)
def test_every_option_changes_the_loss(change):
    def loss(config: MedklipConfig) -> float:
        model = network(config)
        torch.manual_seed(2)
        return sum(model.losses(batch()).values()).item()

    assert loss(CONFIG) == loss(CONFIG)
    assert loss(replace(CONFIG, **change)) != loss(CONFIG)


def test_dropout_acts_in_training_only():
    model = network(replace(CONFIG, dropout=0.5))
    films = batch()
    first, second = (model.losses(films)["existence"].item() for _ in range(2))
    assert first == second
    model.train()
    first, second = (model.losses(films)["existence"].item() for _ in range(2))
    assert first != second


def test_without_the_position_loss_there_is_one_term():
    assert set(network().losses(batch())) == {"existence", "position"}
    assert set(network(replace(CONFIG, position_weight=0.0)).losses(batch())) == {"existence"}


def test_a_batch_that_mentions_nothing_trains_without_nan():
    model = network()
    terms = model.losses(Batch(torch.randn(2, 1, 32, 32), torch.full((2, 5, 3), -1, dtype=torch.int8)))
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


KNOWLEDGE = [
    *({"kind": "entity", "name": name, "description": f"a film that shows {name}"} for name in ENTITIES),
    *({"kind": "position", "name": name, "description": name} for name in ("left_pleural", "right_pleural")),
]
OFFLINE = {"text_encoder": "all-MiniLM-L6-v2", "text_pooling": "mean", "width": 16, "feed_forward": 16}


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
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build({**OFFLINE, **options}, KNOWLEDGE, 64)


def test_a_text_encoder_that_is_nowhere_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="neither a local folder nor reachable"):
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
