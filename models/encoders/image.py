"""Image encoders from timm: a feature map of one stage, or of the whole network."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

# Pixels arrive as 8-bit grey; the mean and deviation are those of one ImageNet channel, averaged over the three.
GREY_MEAN, GREY_STD = 0.449, 0.226


def normalise(images: Tensor) -> Tensor:
    """8-bit grey (batch, 1, size, size) to zero mean and unit deviation, float32."""
    return (images.float() / 255 - GREY_MEAN) / GREY_STD


class StageFeatures(nn.Module):
    """The feature map of one stage of a timm network, on grey images.

    `stage` counts as in the papers: the stem is 0, the residual stages are 1 to 4. `output_stride` replaces later
    strides by dilation, which keeps the map finer (timm offers 8, 16 and 32).
    """

    def __init__(self, name: str, stage: int, output_stride: int = 32, weights: str = "") -> None:
        super().__init__()
        if name not in timm.list_models():
            raise ValueError(f"image encoder `{name}` is not known to timm {timm.__version__}; see timm.list_models()")
        options: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        pretrained = weights == "imagenet"
        self.network = timm.create_model(
            name, pretrained=pretrained, in_chans=1, features_only=True, out_indices=(stage,), **options
        )
        self.channels = int(self.network.feature_info.channels()[-1])  # type: ignore[union-attr,operator]
        if weights and not pretrained:
            load_weights(self.network, weights)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 1, size, size) -> (batch, channels, grid, grid)."""
        return self.network(images)[-1]


def load_weights(network: nn.Module, path: str) -> None:
    """Load a safetensors or weights-only checkpoint; weights that do not fit are an error."""
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    missing = network.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} weights of the image encoder, the first is `{missing[0]}`")
