"""Projections between pooled features and the vectors that image-only methods contrast."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from models.errors import ModelError

FORMS = ("linear", "mlp", "mlp_without_bias", "google")


def contrastive_head(form: str, width: int, dimension: int) -> nn.Module:
    """(batch, width) -> (batch, dimension).

    `linear`: MoCo v1. `mlp`: one hidden layer as wide as the input, of MoCo v2 and sthalles/SimCLR.
    `mlp_without_bias`: the same without biases, as LoVT's SimCLR is recalled. `google`: google-research/simclr.
    """
    if form == "linear":
        return nn.Linear(width, dimension)
    if form == "google":
        return GoogleHead(width, dimension)
    if form not in FORMS:
        raise ModelError(f"head is one of {', '.join(FORMS)}, not `{form}`")
    bias = form == "mlp"
    return nn.Sequential(nn.Linear(width, width, bias), nn.ReLU(), nn.Linear(width, dimension, bias))


class GoogleHead(nn.Module):
    """Three layers without bias, each before a batch norm, with ReLU after the first two.

    The last batch norm has a scale and no shift.
    """

    def __init__(self, width: int, dimension: int, layers: int = 3) -> None:
        super().__init__()
        widths = [width] * layers + [dimension]
        self.layers = nn.ModuleList(nn.Linear(*pair, bias=False) for pair in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(each) for each in widths[1:])
        self.norms[-1].bias.requires_grad_(False)  # type: ignore[union-attr,operator]  # and is 0

    def forward(self, features: Tensor) -> Tensor:
        """(batch, width) -> (batch, dimension)."""
        last = len(self.layers) - 1
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            features = norm(layer(features))
            features = features if number == last else features.relu()
        return features
