"""Whether the machine suits the preset of a run. Nothing here loads torch."""

from __future__ import annotations

import os
from pathlib import Path

from store.errors import SettingError
from store.presets import DEMO, PRESETS, VARIABLE

DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # in /dev: CUDA, ROCm, and CUDA in WSL
HIDES = "CUDA_VISIBLE_DEVICES"


def has_gpu() -> bool:
    """Whether there is a GPU that a training could see."""
    hidden = os.environ.get(HIDES, "0") in ("", "-1")
    return not hidden and any(next(Path("/dev").glob(name), None) for name in DEVICES)


def describe_mismatch(preset: str) -> str:
    """What is wrong with this preset on this machine, and what would fit; empty where it suits."""
    if preset == DEMO or has_gpu():
        return ""
    return f"The preset {preset} is for a GPU, and this machine shows none: set {VARIABLE}={DEMO} for {PRESETS[DEMO]}"


def expect_machine(preset: str, chosen: bool) -> None:
    """Raise SettingError where a preset does not suit the machine and nobody has `chosen` it."""
    if not chosen and (mismatch := describe_mismatch(preset)):
        raise SettingError(f"{mismatch}, or {VARIABLE}={preset} to train on the CPU all the same, which takes weeks.")
