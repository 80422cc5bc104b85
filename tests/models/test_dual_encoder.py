"""Scores of images with texts, where the losses that train their space are left out."""

import pytest
import torch

from tests.models.tiny import tiny_batch, tiny_method

UNTRAINED = {
    "albef": {"contrast_weight": 0.0},
    "biovil": {"global_weight": 0.0, "local_weight": 0.0, "language_weight": 0.1},
    "lovt": {"image_weight": 0.0, "report_weight": 0.0},
}


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_space_that_no_loss_trains_gives_no_scores(name):
    plain, method = tiny_method(name).eval(), tiny_method(name, **UNTRAINED[name]).eval()
    images, texts = tiny_batch(method, 2).images, ["effusion", "nodule"]
    settings = " and ".join(key for key, value in UNTRAINED[name].items() if not value)
    with torch.inference_mode():
        for ask in ("zero_shot", "similarity"):
            getattr(plain, ask)(images, texts)
            with pytest.raises(NotImplementedError, match=f"^{name} with {settings} 0 has no joint space"):
                getattr(method, ask)(images, texts)
        assert method.image_features(images).shape == plain.image_features(images).shape


def test_attention_that_no_loss_trains_gives_no_maps():
    method = tiny_method("albef", matching_weight=0.0, language_weight=0.0).eval()
    with pytest.raises(NotImplementedError, match="albef with matching_weight and language_weight 0 has no maps"):
        method.phrase_maps(tiny_batch(method, 1).images, ["effusion"])
