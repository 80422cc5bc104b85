"""MoCo on small networks: its steps, its queue and key network, and what it answers."""

import pytest
import torch

from models.errors import ModelError
from models.methods.images_only.moco import MocoConfig
from tests.models.methods.images_only.moco_steps import QUEUE, state_by_our_loop, state_by_the_paper
from tests.models.tiny import tiny_batch, tiny_method


@pytest.mark.parametrize(("accumulate", "micro_batches"), [(1, 1), (4, 1), (1, 4), (4, 2)])
def test_twenty_steps_are_those_of_a_literal_simulation(accumulate, micro_batches):
    """Queue, key network, query network and statistics; two processes: tests/training/parallel/test_processes.py."""
    found, expected = (state(accumulate, micro_batches) for state in (state_by_our_loop, state_by_the_paper))
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-11, msg=name)
    assert (found["queue.place"] == 20 * accumulate * 8 % QUEUE).all()


def step(method, seed=0):
    method.on_step_start()
    losses = method.losses(tiny_batch(method, 4, seed))
    sum(losses.values()).backward()
    method.on_step_end()
    return losses


def test_no_gradient_reaches_the_key_network():
    method = tiny_method("moco").train()
    step(method)
    for part in (method.key_encoder, method.key_head):
        assert not any(weights.requires_grad or weights.grad is not None for weights in part.parameters())
    for part in (method.image_encoder, method.head):
        assert all(weights.grad is not None for weights in part.parameters())


def test_keys_enter_the_queue_at_the_end_of_a_step_of_training_alone():
    method = tiny_method("moco")
    method.eval()
    step(method)
    assert method.queue.place.item() == 0
    method.train()
    before = method.queue.keys.clone()
    method.on_step_start()
    keys = method.encode(tiny_batch(method, 4))["keys"]
    step(method)
    assert method.queue.place.item() == 4
    torch.testing.assert_close(method.queue.keys[:4], keys)
    assert torch.equal(method.queue.keys[4:], before[4:])


def test_keys_stay_in_single_precision():
    method = tiny_method("moco").train()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = method.encode(tiny_batch(method, 4))
        losses = method.contrast(encoded)
    assert {value.dtype for value in (*encoded.values(), *losses.values(), method.queue.keys)} == {torch.float32}


def test_features_are_those_of_the_query_network():
    method = tiny_method("moco").eval()
    images = tiny_batch(method, 5).images
    with torch.no_grad():
        for weights in method.key_encoder.parameters():
            weights.zero_()
        features = method.image_features(images)
        alone = torch.cat([method.image_features(image[None]) for image in images])
        (*_, last) = method.image_maps(images)
    torch.testing.assert_close(features, alone)
    torch.testing.assert_close(last.mean((2, 3)), features)
    for ask in (lambda: method.zero_shot(images, ["effusion"]), lambda: method.similarity(images, ["effusion"])):
        with pytest.raises(NotImplementedError, match="moco has no"):
            ask()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_momentum": 1.5}, "key_momentum is 1.5"),
        ({"head": "deep"}, "head is one of"),
    ],
)
def test_mistakes_are_one_sentence(options, said):
    with pytest.raises(ModelError, match=said):
        MocoConfig(**options)


def test_options_change_something():
    torch.manual_seed(0)
    losses = {}
    for name, options in {"": {}, "t": {"temperature": 0.5}, "head": {"head": "linear"}}.items():
        method = tiny_method("moco", **options).eval()
        losses[name] = method.losses(tiny_batch(method, 4))["contrast"].item()
    assert len(set(losses.values())) == 3
