"""Which code decides a run's weights. Imports no torch: Dagster names a run's folder with it."""

from __future__ import annotations

from store.code import code_version


def training_code(method: str) -> str:
    """Version of that code: the training loop, the method, and everything that either imports."""
    return code_version("training.loop", f"models.methods.{method}")
