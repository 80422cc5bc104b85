"""Which code decides a run's weights. Imports no torch: the folder of a run is named with it."""

from __future__ import annotations

from models.registry import method_modules
from store.code import code_version


def training_code(method: str) -> str:
    """Version of the training loop, the method, and everything that either imports."""
    return code_version("training.loop", *method_modules(method))
