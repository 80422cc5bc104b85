"""Image encoders in files of any kind, for a network of timm's: the names of other libraries, under any wrapper."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from models.encoders.weight_files import read_weights
from models.errors import ModelError
from models.released.files.containers import read_content, tensors_of
from models.released.parts.resnet import named_children
from models.released.parts.states import under

MOVING_AVERAGES = ("encoder_k.",)  # which have the names of the encoder that is meant
CLIP = "visual.class_embedding"  # of OpenAI and open_clip
STEM = (7, 7)  # kernel of the first convolution of a residual network
PART = r"(?<![^.])"  # at the beginning of a name, or behind a dot
# transformers -> timm; the queries, keys and values of a transformer are joined before.
VIT = (
    (r"embeddings\.(cls_token)$", r"\1"),
    (r"embeddings\.position_embeddings$", "pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"encoder\.layer\.(\d+)\.attention\.attention\.qkv\.", r"blocks.\1.attn.qkv."),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"layernorm\.(weight|bias)$", r"norm.\1"),
)
RESNET_PARTS = {"convolution": ("conv", "0"), "normalization": ("bn", "1")}
RESNET_LAYER = re.compile(
    r"encoder\.stages\.(\d+)\.layers\.(\d+)\.(?:layer\.(\d+)|shortcut)\.(convolution|normalization)\."
)


def read_encoder(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The weights of an encoder such as `network`, by its names, from any file that holds one.

    Where none is whole, those that come nearest. Raises ModelError where the file cannot be read, or holds several.
    """
    try:
        state = read_weights(path)
        refused = None
    except ModelError as error:
        state, refused = {}, error
    wanted = network.state_dict()
    if wanted.keys() <= state.keys():
        return state
    try:
        tensors = tensors_of(read_content(path))
    except ModelError:
        if refused is None:
            return state
        raise refused from None
    found = _nearest(tensors, network, path)
    if refused is not None and not wanted.keys() <= found.keys():
        raise refused
    return found


def _nearest(tensors: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    tensors = {name: value for name, value in tensors.items() if not any(part in name for part in MOVING_AVERAGES)}
    wanted = frozenset(network.state_dict())
    best: dict[str, Tensor] = {}
    for rename in (dict, _of_children, _of_transformers, lambda found: _of_clip(found, network)):
        named = rename(tensors)
        prefixes = _prefixes(named, wanted)
        whole = [prefix for prefix, number in prefixes.items() if number == len(wanted)]
        if len(whole) > 1:
            raise ModelError(
                f"{path} holds {len(whole)} image encoders, such as `{whole[0]}` and `{whole[1]}`: save the one that "
                "you mean alone"
            )
        nearest = under(named, max(prefixes, key=lambda prefix: prefixes[prefix])) if prefixes else {}
        if whole:
            return nearest
        best = max(best, nearest, key=lambda state: len(state.keys() & wanted))
    return best


def _prefixes(named: Mapping[str, Tensor], wanted: frozenset[str]) -> Counter[str]:
    """How many of the `wanted` names follow each prefix."""
    found: Counter[str] = Counter()
    for name in named:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                found["".join(f"{part}." for part in parts[:start])] += 1
    return found


def _of_children(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A residual network whose children have numbers."""
    for name, tensor in tensors.items():
        if name.endswith("0.weight") and tensor.ndim == 4 and tuple(tensor.shape[2:]) == STEM:
            try:
                return named_children(under(tensors, name.removesuffix("0.weight")))
            except ModelError:
                continue
    return {}


def _of_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ViT, DeiT or ResNet of transformers."""
    found: dict[str, Tensor] = {}
    for name, tensor in _joined(tensors).items():
        changed = name.replace("embedder.embedder.convolution.", "conv1.")
        changed = changed.replace("embedder.embedder.normalization.", "bn1.")
        changed = RESNET_LAYER.sub(_residual_name, changed)
        for pattern, ours in VIT:
            changed = re.sub(PART + pattern, ours, changed)
        found[changed] = tensor
    return found


def _residual_name(match: re.Match[str]) -> str:
    stage, block, number, part = match.groups()
    named, shortcut = RESNET_PARTS[part]
    inner = f"downsample.{shortcut}" if number is None else f"{named}{int(number) + 1}"
    return f"layer{int(stage) + 1}.{block}.{inner}."


def _joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with queries, keys and values of each layer as one."""
    found = dict(tensors)
    for name in tensors:
        if ".attention.attention.query." in name:
            parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
            if all(part in found for part in parts):
                found[name.replace(".query.", ".qkv.")] = torch.cat([found.pop(part) for part in parts])
    return found


def _of_clip(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The image tower of a CLIP, for a transformer with patches and positions of the same number."""
    start = next((name.removesuffix(CLIP) for name in tensors if name.endswith(CLIP)), None)
    if start is None or not isinstance(network, VisionTransformer) or network.pos_embed is None:
        return {}
    tower = under(tensors, start)
    sizes = {
        "visual.conv1.weight": network.patch_embed.proj.weight.shape[2:],
        "visual.positional_embedding": network.pos_embed.shape[1:],
    }
    if any(name not in tower or tower[name].shape[-2:] != shape for name, shape in sizes.items()):
        return {}
    convert: Callable[..., dict[str, Tensor]] = checkpoint_filter_fn
    return convert(tower, network)
