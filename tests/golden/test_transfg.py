"""Region selection, set to TransFG's network, gives the numbers of TransFG's authors' code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from models.encoders.attention import AttentionRecorder, attention_maps
from models.encoders.fusion.region_selection import ALL_ROWS, RegionSelection, attention_product, strongest_patches
from models.encoders.image import ImageFeatures
from models.losses.part_contrast import part_contrast
from tests.golden.conftest import golden_files, load

TOLERANCE = {"32": {"rtol": 1e-4, "atol": 1e-5}, "64": {"rtol": 1e-8, "atol": 1e-9}}
DTYPE = {"32": torch.float32, "64": torch.float64}
PARTS = {"attention_norm": "norm1", "ffn_norm": "norm2", "ffn": "mlp", "attn.out": "attn.proj"}


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("transfg_part_attention*.npz"))
def test_part_attention(path: Path, precision: str) -> None:
    arrays = load(path)
    attention = torch.from_numpy(arrays["in.attention"]).to(DTYPE[precision])
    product = attention_product(reversed(attention), ALL_ROWS)
    np.testing.assert_allclose(product, arrays[f"out{precision}.rollout"], **TOLERANCE[precision])
    row = attention_product(reversed(attention))
    np.testing.assert_allclose(row[:, :, 0, 1:], arrays[f"out{precision}.cls_row"], **TOLERANCE[precision])
    cases = {"": row, "single_layer.": attention_product(attention[:1])}
    for variant, product in cases.items():
        if f"{variant}out{precision}.max_index" in arrays:
            value, index = strongest_patches(product)
            np.testing.assert_allclose(value, arrays[f"{variant}out{precision}.max_value"], **TOLERANCE[precision])
            np.testing.assert_array_equal(index, arrays[f"{variant}out{precision}.max_index"])
    np.testing.assert_array_equal(strongest_patches(row)[1] + 1, arrays[f"out{precision}.token_index"])


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("transfg_con_loss*.npz"))
def test_contrastive_loss(path: Path, precision: str) -> None:
    arrays = load(path)
    features = torch.from_numpy(arrays["in.features"]).to(DTYPE[precision]).requires_grad_()
    loss = part_contrast(features, torch.from_numpy(arrays["in.labels"]))
    loss.backward()
    np.testing.assert_allclose(loss.detach(), arrays[f"out{precision}.con_loss"], **TOLERANCE[precision])
    np.testing.assert_allclose(features.grad, arrays[f"grad{precision}.features"], **TOLERANCE[precision])


def vit_state(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """TransFG's parameters under timm's names: query, key and value stacked, the part layer as last block."""
    parameters = {key.removeprefix("param."): torch.from_numpy(arrays[key]) for key in arrays if key[:6] == "param."}
    hidden, last = int(arrays["hp.hidden"]), int(arrays["hp.layers"]) - 1
    state = {
        "cls_token": parameters["transformer.embeddings.cls_token"],
        "pos_embed": parameters["transformer.embeddings.position_embeddings"],
    }
    for kind in ("weight", "bias"):
        state[f"patch_embed.proj.{kind}"] = parameters[f"transformer.embeddings.patch_embeddings.{kind}"]
        state[f"norm.{kind}"] = parameters[f"transformer.encoder.part_norm.{kind}"]
        state[f"head.{kind}"] = parameters[f"part_head.{kind}"]
        for number in range(last + 1):
            theirs = "transformer.encoder." + (f"layer.{number}" if number < last else "part_layer")
            projections = [parameters[f"{theirs}.attn.{name}.{kind}"] for name in ("query", "key", "value")]
            assert len(projections[0]) == hidden
            state[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat(projections)
            for name in ("attention_norm", "ffn_norm", "ffn.fc1", "ffn.fc2", "attn.out"):
                ours = name
                for before, after in PARTS.items():
                    ours = ours.replace(before, after) if ours.split(".fc")[0] == before else ours
                state[f"blocks.{number}.{ours}.{kind}"] = parameters[f"{theirs}.{name}.{kind}"]
    return state


def network(arrays: dict[str, np.ndarray], dtype: torch.dtype) -> Any:
    hyper = {key: int(arrays[f"hp.{key}"]) for key in ("hidden", "mlp", "heads", "layers", "img_size", "patch")}
    vit: Any = VisionTransformer(
        img_size=hyper["img_size"], patch_size=hyper["patch"], embed_dim=hyper["hidden"], depth=hyper["layers"],
        num_heads=hyper["heads"], mlp_ratio=hyper["mlp"] / hyper["hidden"], num_classes=int(arrays["hp.num_classes"]),
    )  # fmt: skip
    if str(arrays["hp.split"]) == "overlap":
        step = int(arrays["hp.step"])
        vit.patch_embed.proj.stride = (step, step)
        vit.pos_embed = torch.nn.Parameter(
            torch.zeros(arrays["param.transformer.embeddings.position_embeddings"].shape)
        )
    vit.load_state_dict(vit_state(arrays))
    return vit.eval().to(dtype)


@pytest.mark.parametrize("precision", ["32", "64"])
@pytest.mark.parametrize("path", golden_files("transfg_model*.npz"))
def test_model(path: Path, precision: str) -> None:
    arrays, tolerance = load(path), TOLERANCE[precision]
    vit = network(arrays, DTYPE[precision])
    images, labels = torch.from_numpy(arrays["in.images"]).to(DTYPE[precision]), torch.from_numpy(arrays["in.labels"])
    before = attention_maps(vit, images, slice(0, -1))
    if f"out{precision}.attention_layers" in arrays:
        np.testing.assert_allclose(before, arrays[f"out{precision}.attention_layers"], **tolerance)
    value, index = strongest_patches(attention_product(reversed(before)))
    np.testing.assert_allclose(value, arrays[f"out{precision}.part_value"], **tolerance)

    selection = RegionSelection(vit, rerun=True)
    inputs = []
    vit.blocks[-1].register_forward_pre_hook(lambda block, given: inputs.append(given[0]))

    def encode(pixels: torch.Tensor) -> ImageFeatures:
        tokens = vit.forward_features(pixels)
        return ImageFeatures(tokens[:, 0], tokens[:, 1:], vit.patch_embed.grid_size)

    with AttentionRecorder(vit.blocks[-1:]) as last:
        regions = selection(encode, images)
        part_attention = last[0].weights()
    if f"out{precision}.part_layer_attention" in arrays:
        np.testing.assert_allclose(part_attention, arrays[f"out{precision}.part_layer_attention"], **tolerance)
    np.testing.assert_array_equal(regions.index, arrays[f"out{precision}.part_index_without_cls"])
    np.testing.assert_array_equal(regions.index, index)
    np.testing.assert_allclose(inputs[0].detach(), arrays[f"out{precision}.part_layer_input"], **tolerance)
    np.testing.assert_allclose(regions.tokens.detach(), arrays[f"out{precision}.part_tokens"], **tolerance)

    logits = vit.head(regions.pooled)
    contrast = part_contrast(regions.pooled, labels, float(arrays["hp.contrastive_margin"]))
    loss = F.cross_entropy(logits, labels, label_smoothing=float(arrays["hp.smoothing"])) + contrast
    loss.backward()
    for name, ours in {"logits": logits, "con_loss": contrast, "loss": loss}.items():
        np.testing.assert_allclose(ours.detach(), arrays[f"out{precision}.{name}"], **tolerance, err_msg=name)
    gradients = {"cls_token": vit.cls_token, "position_embeddings": vit.pos_embed, "part_head_weight": vit.head.weight}
    for name, parameter in gradients.items():
        np.testing.assert_allclose(parameter.grad, arrays[f"grad{precision}.{name}"], **tolerance, err_msg=name)
