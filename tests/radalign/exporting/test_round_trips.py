"""What went to another project comes back with the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import radalign
from models.encoders.image import ImageEncoder
from models.encoders.text import TextEncoder
from models.released.opening import open_file
from radalign.exporting.texts import SAMPLES
from radalign.exporting.towers import GREY_SHARES
from tests.models.tiny import SIZE, tiny_method
from tests.radalign.exporting.small import trained_model


@pytest.mark.parametrize(("name", "encoder"), [("mgca", "vit/2x32p8"), ("medklip", "resnet10t")])
@torch.inference_mode()
def test_image_weights_take_the_file_of_timm(name, encoder, tmp_path):
    model = trained_model(name, tmp_path / "run", image_encoder=encoder)
    folder = radalign.export(model, "timm", tmp_path / "out", home=str(tmp_path))
    own = getattr(model.network, "image_encoder", None) or model.network.backbone
    stage = {"image_stage": 1} if name == "medklip" else {}
    again = ImageEncoder(
        encoder, SIZE, str(folder / "model.safetensors"), stage.get("image_stage", 0), pooled=not stage
    )
    for key, tensor in own.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key


def test_parts_of_a_grey_stem_are_exact():
    weights = torch.randn(1000, 1, 3, 3)
    parts = weights * torch.tensor(GREY_SHARES).view(1, -1, 1, 1)
    assert torch.equal(parts.sum(1, keepdim=True), weights)


@torch.inference_mode()
def test_the_file_of_open_clip_is_a_start_and_a_released_file(tmp_path):
    model = trained_model("chexzero", tmp_path / "run", text_tokenizer="clip", text_width=64, text_heads=1)
    folder = radalign.export(model, "open_clip", tmp_path / "out", home=str(tmp_path))
    file = folder / "open_clip_model.safetensors"
    options = {"text_tokenizer": "clip", "text_width": 64, "text_heads": 1}
    started = tiny_method("chexzero", weights=str(file), **options).eval()
    square = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE), np.uint8)
    pixels = torch.from_numpy(square)[None]
    assert torch.equal(started.image_features(pixels), torch.from_numpy(model.image_features(square)))
    released = open_file(file, "chexzero")
    difference = released.embed_texts(SAMPLES) - torch.from_numpy(model.embed_texts(SAMPLES))
    assert difference.abs().max() < 1e-6


@torch.inference_mode()
def test_the_folder_of_texts_is_a_text_encoder(tmp_path):
    model = trained_model("convirt", tmp_path / "run")
    folder = radalign.export(model, "transformers", tmp_path / "out", home=str(tmp_path))
    again = TextEncoder(str(folder / "text")).eval()
    tokens = model.network.texts.tokenizer(SAMPLES)
    assert torch.equal(again(tokens).tokens, model.network.text_encoder(tokens).tokens)
