"""open_clip: both towers of a CLIP, for `open_clip.create_model_and_transforms("local-dir:FOLDER")`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.encoders.clip import ClipImageEncoder, ClipTextEncoder, ProjectedImageEncoder
from models.released.parts.clip_resnet import ClipResNet
from models.text.tokenizer import WordPieceTokenizer
from radalign.exporting.subject import Subject, Written, expect_same
from radalign.exporting.texts import SAMPLES, find_tokenizer, save_tokenizer
from radalign.exporting.towers import NotExportableError, example, in_colours, uses_quick_gelu

WEIGHTS, CONFIG = "open_clip_model.safetensors", "open_clip_config.json"
LOAD = """import open_clip
from PIL import Image

model, _, transform = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
model.eval()
images = model.encode_image(transform(Image.open("square.png"))[None], normalize=True)
texts = model.encode_text(tokenizer(["pleural effusion", "no pleural effusion"]), normalize=True)"""


def refuse(subject: Subject) -> None:
    """Raise NotExportableError where the network is no CLIP, or one with a tower that open_clip does not build."""
    _describe(subject)


def write(subject: Subject, folder: Path) -> Written:
    """The two towers, opened again by open_clip."""
    model, state = _describe(subject)
    preparation = subject.preparation
    content = {
        "model_cfg": model,
        "preprocess_cfg": {
            "size": preparation.side,
            "mean": list(preparation.colour_mean),
            "std": list(preparation.colour_std),
            "interpolation": preparation.interpolation,
            "resize_mode": preparation.resize,
            "fill_color": 0,
        },
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
    tokenizer = find_tokenizer(subject.network)
    if isinstance(tokenizer, WordPieceTokenizer):
        save_tokenizer(tokenizer, folder)
    return Written(LOAD, "open_clip", _check(subject, folder))


def _describe(subject: Subject) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """open_clip's configuration, and the weights by its names."""
    network, tokenizer = subject.network, find_tokenizer(subject.network)
    visual, text = getattr(network, "visual", None), getattr(network, "text", None)
    if not isinstance(text, ClipTextEncoder) or tokenizer is None:
        raise NotExportableError("it has no text tower of CLIP's kind, which open_clip needs")
    if isinstance(visual, ClipImageEncoder):
        _ = subject.tower  # refuses one that looks at selected regions
        image, state = _clip_tower(visual)
    elif isinstance(visual, ProjectedImageEncoder):
        image, state = _timm_tower(subject, visual)
    elif isinstance(visual, ClipResNet):
        image, state = _clip_resnet(visual)
    else:
        raise NotExportableError("open_clip has no such image tower")
    model = {
        "embed_dim": int(text.text_projection.shape[1]),
        "quick_gelu": uses_quick_gelu(text),
        "vision_cfg": image,
        "text_cfg": _text_tower(text, tokenizer),
    }
    state |= {name.removeprefix("text."): tensor for name, tensor in _named(text, "text.").items()}
    state["logit_scale"] = network.logit_scale.detach()
    return model, state


def _clip_tower(visual: ClipImageEncoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    blocks: Any = visual.transformer.resblocks
    width = visual.dim
    settings = {
        "image_size": int(visual.image_size[0]), "layers": len(blocks), "width": width,
        "head_width": width // int(blocks[0].attn.num_heads), "patch_size": int(visual.patch_size[0]),
    }  # fmt: skip
    return settings, _named(visual, "visual.")


def _clip_resnet(visual: ClipResNet) -> tuple[dict[str, Any], dict[str, Tensor]]:
    stages: list[Any] = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    width = int(visual.conv3.out_channels)
    settings = {"layers": [len(stage) for stage in stages], "width": width, "image_size": int(visual.image_size)}
    return settings, _named(visual, "visual.")


def _timm_tower(subject: Subject, visual: ProjectedImageEncoder) -> tuple[dict[str, Any], dict[str, Tensor]]:
    tower = subject.tower
    if tower.arguments:
        changed = " and ".join(tower.arguments)
        raise NotExportableError(
            f"open_clip makes timm's {tower.architecture} as it is, and not with another {changed}"
        )
    state = in_colours(_named(visual.network, "visual.trunk."), _named(tower.network, "visual.trunk."))
    settings = {
        "timm_model_name": tower.architecture, "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear",
        "image_size": subject.preparation.side,
    }  # fmt: skip
    return settings, state | _named(visual.projection, "visual.head.proj.")


def _text_tower(text: ClipTextEncoder, tokenizer: Any) -> dict[str, Any]:
    blocks: Any = text.transformer.resblocks
    settings: dict[str, Any] = {
        "context_length": text.context_length, "vocab_size": text.vocab_size, "width": text.dim,
        "heads": int(blocks[0].attn.num_heads), "layers": len(blocks),
    }  # fmt: skip
    if isinstance(tokenizer, WordPieceTokenizer):  # whose end has not the greatest id
        settings |= {"hf_tokenizer_name": "tokenizer", "pool_type": "eos", "eos_id": tokenizer.end}
    return settings


def _named(module: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor.detach().cpu() for name, tensor in module.state_dict().items()}


@torch.inference_mode()
def _check(subject: Subject, folder: Path) -> dict[str, float]:
    """Open the folder as a user does, and compare."""
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    model.eval()
    grey = example(subject.preparation)
    images = model.encode_image(subject.preparation.colours(grey), normalize=True)
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(list(SAMPLES))
    texts = model.encode_text(tokens, normalize=True)
    ours = subject.embed_images(grey)
    assert ours is not None
    return {
        "vectors of images": expect_same(images, ours, "vectors of images"),
        "vectors of texts": expect_same(texts, subject.network.embed_texts(SAMPLES), "vectors of texts"),
    }
