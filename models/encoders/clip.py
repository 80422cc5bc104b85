"""The two towers of CLIP (Radford et al., arXiv 2103.00020), built from open_clip's, for images and their reports.

A module that names them `visual` and `text`, beside its `logit_scale`, has the parameter names of open_clip's CLIP;
`load_clip` fills any of the three, also from the flat names of OpenAI's CLIP and of CheXzero's checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from open_clip.model import QuickGELU, convert_to_custom_text_state_dict, resize_pos_embed
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from models.encoders.image import ImageEncoder, ImageFeatures
from models.encoders.weight_files import numbers_like, read_weights
from models.errors import ModelError
from models.method import Tokens

OPENAI = "openai"  # the weights OpenAI published, which are of these sizes:
OPENAI_ARCHITECTURE = "ViT-B-32"
RUN_WEIGHTS = "weights.safetensors"  # in the folder of a run
CLIP = "clip"  # names CLIP's own image tower where another may stand
MLP_RATIO = 4.0


@dataclass(frozen=True)
class ClipTextFeatures:
    """What CLIP's text tower says of texts."""

    pooled: Tensor  # (batch, dim) at the end token, after the last norm and before the projection
    tokens: Tensor  # (batch, length, dim) after the last norm; what lies behind the end token means nothing


class ClipImageEncoder(VisionTransformer):
    """CLIP's vision transformer with explicit sizes; the defaults are ViT-B/32's."""

    def __init__(
        self, layers: int = 12, width: int = 768, heads: int = 12, patch: int = 32, size: int = 224,
        embedding: int = 512, quick_gelu: bool = True,
    ) -> None:  # fmt: skip
        _check_heads("image", width, heads)
        if size % patch:
            raise ModelError(f"CLIP's patches of {patch} pixels do not fill images of {size}: choose a divisor")
        super().__init__(
            image_size=size, patch_size=patch, width=width, layers=layers, heads=heads, mlp_ratio=MLP_RATIO,
            output_dim=embedding, act_layer=_activation(quick_gelu),
        )  # fmt: skip
        self.dim = self.local_dim = width

    def forward(self, images: Tensor) -> ImageFeatures:
        """Features of normalised images (batch, 1 or 3, size, size) before the projection; grey stands for all colours.

        Class and patch tokens are both taken after the last norm.
        """
        images = images.expand(-1, 3, -1, -1)
        tokens = self.forward_intermediates(
            images, indices=1, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC",
            output_extra_tokens=True,
        )  # fmt: skip
        local, prefix = tokens["image_intermediates"][0], tokens["image_intermediates_prefix"][0]
        return ImageFeatures(prefix[:, 0], local, self.grid_size)

    def maps(self, images: Tensor) -> list[Tensor]:
        """The patch tokens as one map (batch, dim, rows, columns)."""
        features = self(images)
        return [features.local.transpose(1, 2).unflatten(2, features.grid)]

    def project(self, features: Tensor) -> Tensor:
        """(..., dim) -> (..., embedding): into the space shared with texts, not normalised."""
        return features @ self.proj


class ProjectedImageEncoder(ImageEncoder):
    """An image encoder of timm in the place of CLIP's, with CLIP's projection into the space shared with texts.

    `stage` is that of the residual features that are pooled and projected, 0 the last.
    """

    def __init__(self, name: str, size: int, weights: str, embedding: int, stage: int = 0) -> None:
        super().__init__(name, size, weights, stage, pooled=stage == 0)
        self.projection = nn.Linear(self.dim, embedding, bias=False)

    def project(self, features: Tensor) -> Tensor:
        """(..., dim) -> (..., embedding), not normalised."""
        projected: Tensor = self.projection(features)
        return projected


class ClipTextEncoder(TextTransformer):
    """CLIP's causal text transformer with explicit sizes; the defaults are those of ViT-B/32's partner."""

    def __init__(
        self, layers: int = 12, width: int = 512, heads: int = 8, context: int = 77, vocabulary: int = 49408,
        embedding: int = 512, quick_gelu: bool = True,
    ) -> None:  # fmt: skip
        _check_heads("text", width, heads)
        super().__init__(
            context_length=context, vocab_size=vocabulary, width=width, layers=layers, heads=heads,
            mlp_ratio=MLP_RATIO, output_dim=embedding, act_layer=_activation(quick_gelu),
        )  # fmt: skip
        self.dim = width

    def forward(self, tokens: Tokens) -> ClipTextFeatures:
        """Features of texts of any length up to the context; the last token of each is its end.

        Tokens see only what stands before them, so padding reaches neither the end token nor any other.
        """
        length = tokens.ids.shape[1]
        if length > self.context_length:
            raise ModelError(f"CLIP's text tower reads {self.context_length} tokens, not {length}: cut the texts")
        hidden = self.token_embedding(tokens.ids) + self.positional_embedding[:length]
        hidden = self.ln_final(self.transformer(hidden, attn_mask=self.attn_mask[:length, :length]))
        end = tokens.mask.sum(1) - 1
        return ClipTextFeatures(hidden[torch.arange(len(hidden), device=hidden.device), end], hidden)

    def project(self, features: Tensor) -> Tensor:
        """(..., dim) -> (..., embedding): into the space shared with images, not normalised."""
        return features @ self.text_projection


def load_clip(module: nn.Module, weights: str) -> None:
    """Fill `visual`, `text` and `logit_scale` of `module`, those it has, from `weights`.

    `weights` is `openai`, a file of safetensors, plain tensors (such as CheXzero's) or TorchScript (such as OpenAI's),
    or the folder of a run. Position embeddings of another image size are interpolated. Raises ModelError when something
    lacks or has another size.
    """
    state = convert_to_custom_text_state_dict(_openai_state() if weights == OPENAI else _file_state(weights))
    if hasattr(module, "visual"):
        _fit_positions(state, module, weights)
    wanted = {
        name: tensor
        for name, tensor in module.state_dict().items()
        if name.split(".")[0] in ("visual", "text", "logit_scale")
    }
    for name, tensor in wanted.items():
        if name not in state:
            raise ModelError(f"`{weights}` is no CLIP: it lacks `{name}`")
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"`{weights}` is a CLIP of other sizes: its `{name}` is {tuple(state[name].shape)}, and the method's "
                f"settings make it {tuple(tensor.shape)}"
            )
    fitting = {name: numbers_like(tensor, state[name], name, weights) for name, tensor in wanted.items()}
    module.load_state_dict(fitting, strict=False)


def _fit_positions(state: dict[str, Tensor], module: nn.Module, weights: str) -> None:
    try:
        resize_pos_embed(state, module)
    except (RuntimeError, ValueError, IndexError) as error:  # positions that form no square
        raise ModelError(f"`{weights}` is no CLIP: its position embeddings are not those of an image") from error


def _openai_state() -> dict[str, Tensor]:
    from open_clip.pretrained import download_pretrained_from_url, get_pretrained_url

    try:
        path = download_pretrained_from_url(get_pretrained_url(OPENAI_ARCHITECTURE, OPENAI))
    except (OSError, RuntimeError) as error:
        raise ModelError(
            "the weights `openai` of CLIP cannot be reached: give the path of a downloaded file, or leave the weights "
            "empty to start at random"
        ) from error
    return read_weights(Path(path))


def _file_state(weights: str) -> dict[str, Tensor]:
    path = Path(weights) / RUN_WEIGHTS if Path(weights).is_dir() else Path(weights)
    if not path.is_file():
        raise ModelError(f"there is no file `{path}` with weights of CLIP")
    return read_weights(path)


def _activation(quick_gelu: bool) -> type[nn.Module]:
    return QuickGELU if quick_gelu else nn.GELU


def _check_heads(tower: str, width: int, heads: int) -> None:
    if width % heads:
        raise ModelError(f"CLIP's {tower} tower of width {width} cannot be shared among {heads} heads")
