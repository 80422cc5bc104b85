"""Our ConVIRT, set to the code of ConVIRT-pytorch, gives the numbers of that code."""

import numpy as np
import pytest
import torch

from models.encoders.image import ImageFeatures
from models.encoders.text import TextFeatures
from models.losses.info_nce import info_nce, pair_logits
from models.method import Batch, Tokens
from models.methods.convirt.config import ConvirtConfig
from models.methods.convirt.network import Convirt
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-8}}
DTYPE = {"32": torch.float32, "64": torch.float64}


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("convirt_ntxent*.npz"))
def test_contrast(path, precision):
    arrays = load(path)
    variants = sorted(key.split(".hp.")[0] for key in arrays if key.endswith(".hp.temperature"))
    assert variants
    for variant in variants:
        images, texts = (
            torch.from_numpy(arrays.get(f"{variant}.in.{name}", arrays.get(f"in.{name}")))
            .to(DTYPE[precision])
            .requires_grad_()
            for name in ("zis", "zjs")
        )
        weight, temperature = (float(arrays[f"{variant}.hp.{name}"]) for name in ("alpha_weight", "temperature"))
        normalise = bool(arrays[f"{variant}.hp.norm"])
        logits = pair_logits(images, texts, temperature, normalise)
        loss = info_nce(images, texts, temperature, weight, normalise=normalise)
        gradients = torch.autograd.grad(loss, (images, texts))
        ours = {
            "out.loss": loss,
            "out.loss_a": info_nce(images, texts, temperature, 1, normalise=normalise),
            "out.loss_b": info_nce(images, texts, temperature, 0, normalise=normalise),
            "out.logits_ab": logits,
            "out.logits_ba": logits.T,
            "grad.zis": gradients[0],
            "grad.zjs": gradients[1],
        }
        for name, value in ours.items():
            theirs = arrays[f"{variant}.{name.replace('.', precision + '.')}"]
            np.testing.assert_allclose(value.detach(), theirs, **TOLERANCE[precision], err_msg=f"{variant} {name}")


class Given(torch.nn.Module):
    """Stands for an encoder: whatever it is given, its features are those of the file."""

    def __init__(self, features, dim):
        super().__init__()
        self.features, self.dim = features, dim

    def forward(self, _):
        return self.features


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> tuple[Convirt, torch.Tensor, torch.Tensor]:
    """The model with the file's heads, the pooled image features, which take gradients, and the hidden states."""
    pooled = torch.from_numpy(arrays["in.pooled_resnet"]).to(dtype).requires_grad_()
    hidden = torch.from_numpy(arrays["in.token_states"]).to(dtype)
    image = Given(ImageFeatures(pooled.flatten(1), pooled.flatten(2).mT, (1, 1)), pooled.shape[1])
    text = Given(TextFeatures((hidden,), None), hidden.shape[2])
    config = ConvirtConfig(text_pooling="mean", detach_text=True, dimension=len(arrays["param.res_l2.bias"]))
    model = Convirt(config, image, text, None)
    heads = {"res": model.image_projection, "bert": model.text_projection}
    for name, head in heads.items():
        for layer, place in (("l1", 0), ("l2", 2)):
            weights = {kind: torch.from_numpy(arrays[f"param.{name}_{layer}.{kind}"]) for kind in ("weight", "bias")}
            head[place].load_state_dict(weights)
    return model.to(dtype), pooled, hidden


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("convirt_heads*.npz"))
def test_heads(path, precision):
    arrays = load(path)
    model, pooled, hidden = network(arrays, DTYPE[precision])
    mask = torch.from_numpy(arrays["in.attention_mask"]).bool()
    batch = Batch(torch.zeros(len(mask), 1, 4, 4), Tokens(torch.zeros_like(mask, dtype=torch.long), mask))
    encoded = model.encode(batch)
    encoded["images"].square().sum().backward()
    tolerance = TOLERANCE[precision]
    np.testing.assert_allclose(
        model.image_features(batch.images).detach(), arrays[f"out{precision}.img_h"], **tolerance
    )
    np.testing.assert_allclose(encoded["images"].detach(), arrays[f"out{precision}.img_proj"], **tolerance)
    np.testing.assert_allclose(pooled.grad, arrays[f"grad{precision}.pooled_resnet_of_sum_sq"], **tolerance)
    np.testing.assert_allclose(model.pool(hidden, mask), arrays[f"out{precision}.pooled_text"], **tolerance)
    assert encoded["texts"].requires_grad == bool(arrays["out16.text_proj_requires_grad"])


@pytest.mark.parametrize("path", golden_files("convirt_heads*.npz"))
def test_heads_of_the_text_branch_in_half_precision(path):
    arrays = load(path)
    model, _, hidden = network(arrays, torch.float32)
    mask = torch.from_numpy(arrays["in.attention_mask"]).bool()
    ours = model.text_projection.half()(model.pool(hidden, mask).half())
    np.testing.assert_allclose(ours.detach(), arrays["out16.text_proj"], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("path", golden_files("convirt_heads*.npz"))
def test_a_batch_of_one_keeps_its_axis(path):
    """The authors' code squeezes it away."""
    model, *_ = network({**load(path), "in.pooled_resnet": load(path)["in.pooled_resnet"][:1]}, torch.float32)
    assert model.project_images(torch.zeros(1, 1, 4, 4))[0].shape == (1, model.config.dimension)
