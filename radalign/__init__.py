"""Radalign as a library: load a pretrained model, use it, evaluate it, pretrain another one.

    import radalign
    model = radalign.load("var/checkpoints/mgca/<run>")
    model.zero_shot("image.dcm", ["pleural effusion", "pneumothorax"])

The same is a command: `radalign --help`. Importing this package loads nothing else. Each function imports what it
needs when it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radalign.errors import RadalignError, UnknownFindingWarning
    from radalign.evaluation import evaluate
    from radalign.exporting.export import export
    from radalign.loading import load
    from radalign.model import Model, ZeroShotPrediction
    from radalign.pretraining import pretrain

__all__ = [
    "Model",
    "RadalignError",
    "UnknownFindingWarning",
    "ZeroShotPrediction",
    "evaluate",
    "export",
    "load",
    "pretrain",
]

_HOMES = {
    "Model": "radalign.model",
    "RadalignError": "radalign.errors",
    "UnknownFindingWarning": "radalign.errors",
    "ZeroShotPrediction": "radalign.model",
    "evaluate": "radalign.evaluation",
    "export": "radalign.exporting.export",
    "load": "radalign.loading",
    "pretrain": "radalign.pretraining",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'radalign' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
