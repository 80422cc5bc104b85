"""Systems without pretraining: no step is taken, and what they are compared with is their starting weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.encoders.clip_settings import COLOURS
from models.errors import ModelError
from models.registry import build_method, own_variant
from models.saved import load_method
from tests.models.tiny import KNOWLEDGE, SIZE, TINY, settings_for, tiny_batch, tiny_method
from tests.training.conftest import shard_rows, tiny_config, write_shards
from training.config import TrainingConfig
from training.loop import train

SYSTEMS = ("random", "imagenet", "blip", "clip")


@pytest.fixture
def own(tmp_path) -> TrainingConfig:
    """No step, on a few images."""
    return replace(
        tiny_config(write_shards(tmp_path / "shards", shard_rows(8)), tmp_path / "run"), epochs=0, max_steps=0
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_takes_no_step_and_keeps_the_weights_it_starts_with(name, own):
    result = train(replace(own, method=name, method_config=settings_for(name, "findings"), batch_size=1))
    assert (result["steps"], result["epochs"], result["pairs"]) == (0, 0, 7)
    assert result["checkpoint_digest"] == result["untrained_digest"]
    built, loaded = tiny_method(name).eval(), load_method(Path(own.output))
    images = tiny_batch(built, 3).images
    torch.testing.assert_close(loaded.image_features(images), built.image_features(images))


@pytest.mark.parametrize("name", ["random", "imagenet", "blip"])
def test_a_step_is_refused(name, own):
    """Weight decay would change the weights, and the results would still carry the name of the system."""
    with pytest.raises(ModelError, match="takes no step; set epochs and max_steps to 0"):
        train(replace(own, method=name, method_config=settings_for(name, "findings"), batch_size=1, epochs=1))


def test_every_seed_is_another_random_network(own, tmp_path):
    given = {"method": "random", "method_config": TINY["random"], "batch_size": 1}
    runs = [replace(own, **given, seed=seed) for seed in (0, 1)]
    digests = [train(replace(run, output=str(tmp_path / str(run.seed))))["checkpoint_digest"] for run in runs]
    assert digests[0] != digests[1]


@pytest.mark.parametrize("name", ["imagenet", "blip"])
def test_weights_come_from_the_file_that_is_named(name, tmp_path):
    options = {**TINY[name], "image_weights": str(tmp_path / "weights.safetensors")}
    donor = tiny_method("random", image_encoder=TINY[name]["image_encoder"]).image_encoder.network
    state = {key: tensor + 0.1 if tensor.is_floating_point() else tensor for key, tensor in donor.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    found = build_method(name, options, KNOWLEDGE, SIZE).image_encoder.network.state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


def test_blip_needs_its_checkpoint():
    with pytest.raises(ModelError, match="image_weights is empty; give the path"):
        build_method("blip", {"image_encoder": "vit/2x32p8"}, KNOWLEDGE, SIZE)


def test_random_weights_are_not_called_those_of_imagenet():
    with pytest.raises(ModelError, match="image_weights is empty; for random weights take the method `random`"):
        build_method("imagenet", {"image_encoder": "resnet10t", "image_weights": ""}, KNOWLEDGE, SIZE)


@pytest.mark.parametrize("name", ["blip", "clip"])
def test_natural_images_have_the_normalisation_of_clip(name):
    grey = torch.full((1, 1, SIZE, SIZE), 130.0)
    (prepared,) = tiny_method(name).prepare(grey)
    expected = [(130.0 / 255 - mean) / std for mean, std in zip(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), strict=True
    )]  # fmt: skip
    assert prepared.mean((1, 2)).tolist() == pytest.approx(expected, rel=1e-4)
    assert [len(each) for each in COLOURS] == [3, 3]


def test_a_result_carries_the_name_of_the_encoder():
    assert own_variant("random", {"image_encoder": "vit/4x128p8"}) == "vit-4x128p8"
    assert own_variant("imagenet", {}) == "resnet50"
    assert own_variant("clip", {}) == own_variant("medklip", {}) == ""


def test_clip_scores_findings():
    method = tiny_method("clip").eval()
    with torch.inference_mode():
        scores = method.zero_shot(tiny_batch(method, 3).images, ["effusion", "nodule"]).scores
    assert scores.shape == (3, 2)
    assert ((scores > 0) & (scores < 1)).all()
