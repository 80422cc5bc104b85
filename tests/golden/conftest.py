"""Where the outputs of the authors' own code are: `RADALIGN_GOLDEN`, else the shared folder beside the checkout."""

import os
from pathlib import Path

import numpy as np
import pytest

GOLDEN = Path(
    os.environ.get("RADALIGN_GOLDEN")
    or Path(os.environ.get("RADALIGN_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "golden" / "public"
)


def golden_files(pattern: str) -> list:
    """One pytest parameter per file, or one that skips and says why."""
    files = sorted(GOLDEN.glob(pattern))
    if not files:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {pattern} in {GOLDEN}"))]
    return [pytest.param(path, id=path.stem) for path in files]


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
