"""The learning rate as one pure function of the step."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: int, peak: float, final: float) -> float:
    """Linear from a tenth of `peak` over `warmup` steps (MedKLIP: 1e-5 to 1e-4), then a cosine to `final`."""
    if step < warmup:
        return peak * (0.1 + 0.9 * step / warmup)
    progress = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))
