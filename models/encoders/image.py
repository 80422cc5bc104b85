"""Image encoders from timm, on grey images: residual networks and vision transformers behind one interface."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

from models.encoders.weight_files import numbers_like
from models.errors import ModelError
from models.losses.precision import at_least_float32

SCRATCH = re.compile(r"vit/(\d+)x(\d+)(?:p(\d+)|(r))")
ENDING = re.compile(r"(\w+)/(\d)")
STAGES = 4  # of a residual network
STRIDE = 32  # pixels per location of its last map
COLOURS = 3
HEAD_WIDTH = 64  # of every published ViT


@dataclass(frozen=True)
class ImageFeatures:
    """The output of an image encoder."""

    pooled: Tensor  # (batch, dim): average pooled, or a transformer's class token
    local: Tensor  # (batch, locations, local_dim), row by row
    grid: tuple[int, int]  # rows and columns of the locations
    attention: Tensor | None = None  # (batch, locations) from the class token in the last block, mean over the heads


class ImageEncoder(nn.Module):
    """A timm network without its classifier, on normalised images (batch, channels, size, size).

    `name` is a timm name; `resnet18/2`: a residual network that ends with its second stage; or `vit/4x128p8`: a ViT of
    4 blocks, width 128, patches of 8, from scratch. With `r` for `p8` its patches are the locations of a ResNet-18's
    second stage (the hybrid of Dosovitskiy et al., 2021), which needs fewer images.

    `stage` says which residual stage gives the local features, 1 to 4, or 0 for the last; transformers give their patch
    tokens. With `pooled=False` the stages behind that one are left out, and the local features are what is pooled.
    `output_stride` 8 or 16 keeps a residual network's maps finer by dilation.

    `channels` is 1 for grey images, or 3 for a grey image in each colour. The two start alike from the same colour
    weights, under the same constants of normalisation, and train differently: of three channels each gets the gradient
    of the one, so the first convolution moves up to three times as fast.

    `weights` is "" for random ones, `imagenet`, or a file of safetensors or of plain tensors.
    """

    def __init__(
        self,
        name: str,
        size: int = 224,
        weights: str = "",
        stage: int = 0,
        output_stride: int = STRIDE,
        pooled: bool = True,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if channels not in (1, COLOURS):
            raise ModelError(f"channels of the image encoder are 1 or {COLOURS}, not {channels}")
        if ending := ENDING.fullmatch(name):
            name, stage, pooled = ending[1], int(ending[2]), False
        elif not pooled:
            stage = stage or STAGES
        self.stops = not pooled
        if self.stops and not 1 <= stage <= STAGES:
            raise ModelError(f"image encoder `{name}` has the stages 1 to {STAGES}, not {stage}")
        stages = {"features_only": True, "out_indices": tuple(range(stage + 1))}
        options = stages if self.stops else {"num_classes": 0}
        self.network: Any = _network(name, size, weights == "imagenet", output_stride, options, channels)
        self.transformer = isinstance(self.network, VisionTransformer)
        if weights not in ("", "imagenet"):
            load_weights(self.network, weights)
        if self.transformer and ending:
            raise ModelError(f"image encoder `{name}` cannot end with a stage; leave `/{ending[2]}` out of its name")
        if self.transformer:
            self.dim = self.local_dim = int(self.network.num_features)
            return
        if self.stops and isinstance(self.network.feature_info, list):  # of timm, where a network is whole
            raise ModelError(_no_stage(name))
        widths = self.network.feature_info.channels() if self.stops else self._channels()
        if not 0 <= stage < (5 if self.stops else len(widths)):
            raise ModelError(f"image encoder `{name}` has the stages 1 to {len(widths) - 1}, not {stage}")
        self.stage = stage or len(widths) - 1
        self.local_dim = int(widths[-1 if self.stops else self.stage])
        self.dim = self.local_dim if self.stops else int(self.network.num_features)

    @classmethod
    def of(cls, settings: Any, size: int, fresh: bool) -> ImageEncoder:
        """The encoder of a method's settings; without `fresh` its weights follow, and none are fetched.

        With an `image_stage` the features of that stage are pooled, and those behind it are left out.
        """
        name, stage = settings.image_encoder, settings.image_stage
        weights, stride = settings.image_weights if fresh else "", getattr(settings, "output_stride", STRIDE)
        encoder = cls(name, size, weights, stage, stride, stage == 0, settings.channels)
        if fresh:  # a saved network has been trained so
            encoder.expect_stage(name, stage)
        return encoder

    def expect_stage(self, name: str, stage: int) -> None:
        """ModelError where the encoder `name` does not end with `stage` (0: any), though the settings ask for it."""
        if stage and self.transformer:
            raise ModelError(_no_stage(name))
        ending = ENDING.fullmatch(name)
        if stage and ending and int(ending[2]) != stage:
            raise ModelError(
                f"image encoder `{name}` ends with stage {ending[2]}, but `image_stage` is {stage}; set it to 0"
            )

    def _channels(self) -> list[int]:
        return [int(info["num_chs"]) for info in self.network.feature_info]

    def forward(self, images: Tensor, attention: bool = False) -> ImageFeatures:
        """Features of the images; with `attention` also that of a transformer."""
        return self._tokens(images, attention) if self.transformer else self._maps(images)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps (batch, channels, rows, columns) from fine to coarse, as detection and segmentation read them.

        A residual network has one for its stem and for each stage, a transformer one on its patch grid.
        """
        if self.transformer:
            features = self._tokens(images, attention=False)
            return [features.local.transpose(1, 2).unflatten(2, features.grid)]
        if self.stops:
            return list(self.network(images))
        return list(self.network.forward_intermediates(images, intermediates_only=True))

    def _maps(self, images: Tensor) -> ImageFeatures:
        if self.stops:
            local = last = self.network(images)[-1]
        else:
            last, (local,) = self.network.forward_intermediates(images, indices=[self.stage])
            if getattr(self.network, "output_fmt", "NCHW") == "NHWC":  # a Swin transformer, whose end has a norm
                last = last.permute(0, 3, 1, 2)
                local = last if self.stage == len(self._channels()) - 1 else local
        grid = (int(local.shape[2]), int(local.shape[3]))
        return ImageFeatures(last.mean((2, 3)), local.flatten(2).transpose(1, 2), grid)

    def _tokens(self, images: Tensor, attention: bool) -> ImageFeatures:
        inputs: list[Tensor] = []
        attend = self.network.blocks[-1].attn
        hook = attend.register_forward_pre_hook(lambda _, given: inputs.append(given[0])) if attention else None
        tokens = self.network.forward_features(images)
        if hook is not None:
            hook.remove()
        first = self.network.num_prefix_tokens
        weights = class_attention(attend, inputs[0])[:, first:] if attention else None
        return ImageFeatures(tokens[:, 0], tokens[:, first:], self.network.patch_embed.grid_size, weights)


@torch.no_grad()
def class_attention(attend: Any, tokens: Tensor) -> Tensor:
    """(batch, tokens) attention from the class token, mean over the heads, computed beside the fused path.

    `attend` is timm's attention and `tokens` (batch, tokens, dim) its input.
    """
    heads = attend.num_heads
    query, key, _ = attend.qkv(tokens).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attend.q_norm(query[:, :, :1]), attend.k_norm(key)
    logits = at_least_float32(query @ key.transpose(-1, -2)) * attend.scale
    return logits.softmax(-1)[:, :, 0].mean(1)


def _network(name: str, size: int, pretrained: bool, output_stride: int, options: dict[str, Any], channels: int) -> Any:
    scratch = SCRATCH.fullmatch(name)
    transformer = bool(scratch) or name.startswith(("vit", "deit", "swin"))
    if transformer and output_stride != STRIDE:
        raise ModelError(_no_dilation(name))
    if scratch:
        return _vit(int(scratch[1]), int(scratch[2]), size, int(scratch[3] or 0), channels)
    if name not in timm.list_models():
        raise ModelError(
            f"image encoder `{name}` is neither known to timm {timm.__version__} (see timm.list_models()) nor of the "
            "form `vit/4x128p8`"
        )
    if transformer:
        options = {"num_classes": 0, "img_size": size}
    elif output_stride != STRIDE:
        options = {**options, "output_stride": output_stride}
    try:
        return timm.create_model(name, pretrained=pretrained, in_chans=channels, **options)
    except (OSError, RuntimeError) as error:
        reason = "its ImageNet weights are not reachable" if pretrained else str(error)
        raise ModelError(
            f"image encoder `{name}` cannot be built: {reason}; give the path of a file of weights, or none to "
            "start at random"
        ) from error
    except (AssertionError, TypeError) as error:  # of networks that have no such option
        if output_stride == STRIDE:
            raise
        raise ModelError(_no_dilation(name)) from error


def _no_stage(name: str) -> str:
    return f"image encoder `{name}` cannot end with a stage; set `image_stage` to 0"


def _no_dilation(name: str) -> str:
    return f"the maps of image encoder `{name}` cannot be refined by dilation; set `output_stride` to {STRIDE}"


def _vit(blocks: int, width: int, size: int, patch: int, channels: int) -> VisionTransformer:
    """A ViT on patches of so many pixels, or for 0 on the second stage of a ResNet-18."""
    embed: dict[str, Any] = {"patch_size": patch}
    if not patch:
        stem = timm.create_model("resnet18", in_chans=channels, features_only=True, out_indices=(2,))
        embed = {"patch_size": 1, "embed_layer": partial(HybridEmbed, backbone=stem)}
    heads = max(1, width // HEAD_WIDTH)
    return VisionTransformer(
        img_size=size, in_chans=channels, num_classes=0, embed_dim=width, depth=blocks, num_heads=heads, **embed
    )


def load_weights(network: nn.Module, path: str) -> None:
    """Load the file of weights at `path`; weights that do not fit are an error.

    The file may be of timm, torchvision, transformers or open_clip, or a checkpoint that holds such an encoder. For an
    encoder of one channel a first convolution for three colours is summed over them, which is the same for a grey image
    that is normalised alike in each.
    """
    from models.released.parts.plain import read_encoder

    if not Path(path).is_file():
        raise ModelError(f"there is no file `{path}` with weights of the image encoder (`image_weights`)")
    state = read_encoder(Path(path), network)
    wanted = network.state_dict()
    for name, tensor in state.items():
        if name in wanted and tensor.ndim == 4 and tensor.shape[1] == 3 and wanted[name].shape[1] == 1:
            state[name] = tensor.sum(1, keepdim=True)
    missing = [name for name in wanted if name not in state]
    if missing:
        raise ModelError(f"{path} lacks {len(missing)} weights of the image encoder, the first is `{missing[0]}`")
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"{path} is of another image encoder: its `{name}` is {tuple(state[name].shape)}, and the settings "
                f"make it {tuple(tensor.shape)}"
            )
    network.load_state_dict({name: numbers_like(tensor, state[name], name, path) for name, tensor in wanted.items()})
