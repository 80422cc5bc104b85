"""Where networks compute: `auto` is resolved, and what is not there is refused in one sentence."""

import numpy as np
import pytest
import torch

from evaluation.inference import predict_batches
from models.compute import Compute, full_convolutions
from models.errors import ModelError
from tests.models.tiny import SIZE, tiny_method


def test_auto_is_a_gpu_where_there_is_one_and_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Compute().resolve() == Compute("cpu", "fp32")
    assert Compute("cpu", "bf16").resolve() == Compute("cpu", "bf16")
    assert Compute("cpu").description == "cpu, fp32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    assert Compute().resolve() == Compute("cuda", "fp32")
    assert Compute().description == "cuda (H200), fp32"


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "xpu"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(ModelError, match=f"device is `{device}`, which torch cannot use on this machine; set it to"):
        Compute(device).resolve()


def test_a_precision_that_there_is_not_is_named():
    with pytest.raises(ModelError, match="precision is `fp16`, but must be one of auto, fp32, bf16"):
        Compute(precision="fp16")


def test_bf16_rounds_products_and_fp32_none():
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), np.uint8)
    method = tiny_method("convirt").eval()

    def features(precision):
        placed = Compute("cpu", precision).place(method)
        return predict_batches(placed, pixels, lambda images: [placed.image_features(images)])[0]

    exact, rounded = features("fp32"), features("bf16")
    with torch.inference_mode():
        plain = method.image_features(torch.from_numpy(pixels)[:, None]).numpy()
    np.testing.assert_array_equal(exact, plain)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


def test_convolutions_are_full_within_and_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled
    with full_convolutions():
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == (False, before[1])
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled) == before
