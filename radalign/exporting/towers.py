"""Image encoders in timm's terms: the name of an architecture, what it is made with, and weights for three channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import timm
import torch
from open_clip.model import QuickGELU
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from models.encoders.clip import ClipImageEncoder
from models.encoders.image import ENDING, SCRATCH, ImageEncoder
from models.method import Method
from models.released.parts.resnet import COLOURS, describe_resnet
from models.released.parts.towers import RESNET, ImageTower
from radalign.errors import RadalignError
from radalign.exporting.preparation import Preparation, preparing_tensors

# By which the weights of a grey stem are shared among three channels. One of them has all: of images whose channels are
# the same the products are the same, to the last bit, and the sum over the channels gives the weights back.
GREY_SHARES = (0.0, 1.0, 0.0)
RESNETS = {  # blocks of the stages and whether they are basic -> timm's name
    ((2, 2, 2, 2), True): "resnet18",
    ((3, 4, 6, 3), True): "resnet34",
    ((3, 4, 6, 3), False): "resnet50",
    ((3, 4, 23, 3), False): "resnet101",
}
RESNET_PLANES, RESNET_WIDTH, STAGES = (64, 128, 256, 512), 64, 4
COARSEST = 32  # pixels per location of the last map of a residual network
VIT = "vit_base_patch16_224"  # whose sizes are given
CLIP_VITS = {True: "vit_base_patch32_clip_quickgelu_224", False: "vit_base_patch32_clip_224"}  # by quick GELU
PARTS = ("image_encoder", "backbone", "visual", "image")  # what methods call their image encoder
TOLERANCE = 1e-4  # relative; what is another computation differs by far more, what is the same by far less


class NotExportableError(RadalignError):
    """The target has no form for the network; the message says why, without a full stop."""


@dataclass(frozen=True)
class TimmTower:
    """An image encoder as `timm.create_model` makes it."""

    architecture: str
    arguments: dict[str, Any]  # beside `num_classes=0`; plain values
    network: nn.Module  # made so, with the weights, in evaluation mode

    @property
    def gives_maps(self) -> bool:
        """Whether it returns maps, of which the mean over the places of the last is the image's features."""
        return bool(self.arguments.get("features_only"))

    def features(self, pixels: Tensor) -> Tensor:
        """(batch, dim) of images (batch, 3, side, side)."""
        return pool_maps(self.network(pixels))


def pool_maps(output: Tensor | list[Tensor]) -> Tensor:
    """(batch, dim) of what a timm network returned: features, or maps (batch, dim, rows, columns)."""
    return output if isinstance(output, Tensor) else output[-1].mean((2, 3))


@torch.inference_mode()
def find_tower(network: Method, preparation: Preparation) -> TimmTower:
    """The image encoder of a network, whose features are the network's `image_features`.

    Raises:
        NotExportableError: timm has no such encoder, or the features are not what it returns.
    """
    encoder = next((getattr(network, part) for part in PARTS if hasattr(network, part)), None)
    architecture, arguments, state = _describe(encoder, network, preparation)
    try:
        made = timm.create_model(architecture, num_classes=0, **arguments).eval()
        made.load_state_dict(in_colours(state, made.state_dict()))
    except (RuntimeError, TypeError, ValueError) as error:
        raise NotExportableError(f"timm's {architecture} is another network ({_first_line(error)})") from None
    tower = TimmTower(architecture, arguments, made)
    grey = example(preparation).to("cpu")
    with preparing_tensors(network, preparation):
        ours = network.image_features(grey.to(network.device)).float().cpu()
    theirs = tower.features(preparation.colours(grey))
    if ours.shape != theirs.shape or difference(theirs, ours) > TOLERANCE:
        raise NotExportableError(f"its image features are not what timm's {architecture} returns")
    return tower


def in_colours(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network, those of a grey stem shared among three channels where `wanted` has three."""
    shares = torch.tensor(GREY_SHARES).view(1, -1, 1, 1)
    return {
        name: tensor * shares
        if tensor.ndim == 4 and tensor.shape[1] == 1 and name in wanted and wanted[name].shape[1] == COLOURS
        else tensor
        for name, tensor in ((name, tensor.detach().cpu()) for name, tensor in state.items())
    }


def example(preparation: Preparation, images: int = 2) -> Tensor:
    """Grey levels 0..255 (images, 1, seen, seen) that are the same in every call."""
    noise = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (images, 1, preparation.seen, preparation.seen), generator=noise).float()


def difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest number that is wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(torch.float32).tiny))


def uses_quick_gelu(tower: nn.Module) -> bool:
    """Whether a tower of CLIP has OpenAI's approximation of GELU."""
    return any(isinstance(module, QuickGELU) for module in tower.modules())


def _describe(encoder: Any, network: Any, preparation: Preparation) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    if isinstance(encoder, ImageEncoder):
        stride = getattr(network.config, "output_stride", COARSEST)
        return _of_encoder(encoder, network.config.image_encoder, preparation.side, stride)
    if isinstance(encoder, ClipImageEncoder):
        return _of_clip(encoder)
    if isinstance(encoder, ImageTower) and encoder.kind == RESNET:
        encoder = encoder.network
    if isinstance(encoder, ResNet):
        return _of_resnet(encoder.state_dict())
    if isinstance(encoder, VisionTransformer):
        return VIT, _sizes_of_vit(encoder), encoder.state_dict()
    raise NotExportableError("timm has no such image encoder")


def _of_encoder(
    encoder: ImageEncoder, name: str, side: int, stride: int
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    state = encoder.network.state_dict()
    arguments: dict[str, Any] = {}
    if ending := ENDING.fullmatch(name):
        name = ending[1]
    if encoder.transformer:
        if scratch := SCRATCH.fullmatch(name):
            if scratch[4]:
                raise NotExportableError(f"timm has no name for `{name}`, a transformer behind a residual network")
            name, arguments = VIT, _sizes_of_vit(encoder.network)
        elif encoder.network.patch_embed.img_size != encoder.network.default_cfg["input_size"][1:]:
            arguments = {"img_size": side}
        return name, arguments | ({"global_pool": "avg", "fc_norm": False} if encoder.stops else {}), state
    if stride != COARSEST:
        arguments["output_stride"] = stride
    if encoder.stops:
        arguments |= {"features_only": True, "out_indices": [encoder.stage]}
    return name, arguments, state


def _sizes_of_vit(network: Any) -> dict[str, Any]:
    width = int(network.embed_dim)
    sizes: dict[str, Any] = {
        "img_size": int(network.patch_embed.img_size[0]), "patch_size": int(network.patch_embed.patch_size[0]),
        "embed_dim": width, "depth": len(network.blocks), "num_heads": int(network.blocks[0].attn.num_heads),
        "mlp_ratio": network.blocks[0].mlp.fc1.out_features / width,
    }  # fmt: skip
    usual = {"img_size": 224, "patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0}
    return {name: value for name, value in sizes.items() if value != usual[name]}


def _of_clip(encoder: ClipImageEncoder) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    blocks: Any = encoder.transformer.resblocks
    sizes: dict[str, Any] = {
        "img_size": int(encoder.image_size[0]), "patch_size": int(encoder.patch_size[0]), "embed_dim": encoder.dim,
        "depth": len(blocks), "num_heads": int(blocks[0].attn.num_heads),
    }  # fmt: skip
    usual = {"img_size": 224, "patch_size": 32, "embed_dim": 768, "depth": 12, "num_heads": 12}
    arguments = {name: value for name, value in sizes.items() if value != usual[name]}
    architecture = CLIP_VITS[uses_quick_gelu(encoder)]
    state = {f"visual.{name}": tensor for name, tensor in encoder.state_dict().items()}
    made: Any = timm.create_model(architecture, num_classes=0, **arguments)
    renamed = checkpoint_filter_fn(state, made)
    return architecture, arguments, {name: renamed[name] for name in renamed if not name.startswith("head.")}


def _of_resnet(state: dict[str, Tensor]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """A released network, whose sizes are in its weights."""
    described = describe_resnet(state)
    blocks, planes = described["blocks"], described["planes"]
    arguments: dict[str, Any] = {}
    if (missing := STAGES - len(blocks)) > 0:
        arguments = {"features_only": True, "out_indices": [len(blocks)]}
    name = next((name for (sizes, basic), name in RESNETS.items() if _fits(sizes, basic, described)), "")
    if not name:
        name = "resnet18" if described["basic"] else "resnet50"
        arguments["layers"] = blocks + [1] * missing
    if tuple(planes) != RESNET_PLANES[: len(planes)]:
        arguments["channels"] = planes + [planes[-1]] * missing
    if described["base_width"] != RESNET_WIDTH:
        arguments["base_width"] = described["base_width"]
    if described["groups"] != 1:
        arguments["cardinality"] = described["groups"]
    return name, arguments, state


def _fits(sizes: tuple[int, ...], basic: bool, described: dict[str, Any]) -> bool:
    blocks = tuple(described["blocks"])
    return basic == described["basic"] and blocks == sizes[: len(blocks)]


def _first_line(error: Exception) -> str:
    return f"{error}".strip().splitlines()[0][:150]
