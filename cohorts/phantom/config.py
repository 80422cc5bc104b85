"""What the simulator can be asked for, and the vocabulary it draws and writes with."""

from __future__ import annotations

from dataclasses import dataclass

VERSION = "1"  # raise when the same seed would draw other films or write other reports

FINDINGS = (
    "effusion",
    "pneumothorax",
    "consolidation",
    "cardiomegaly",
    "nodule",
    "edema",
    "atelectasis",
    "line",
    "tube",
)


@dataclass(frozen=True)
class PhantomConfig:
    """A simulated archive. Study `i` depends on the seed and `i` alone, so a larger archive extends a smaller one."""

    studies: int = 3600
    seed: int = 0
    height: int = 224  # rows of a film; its columns vary around this
    prevalence: float = 0.25  # of each finding
    report_error: float = 0.03  # probability that a statement about a finding is wrong
    vagueness: float = 0.08  # probability that a finding is described without its name
    omission: float = 0.08  # probability that a plain finding is left out; doubled for a subtle one

    def __post_init__(self) -> None:
        if self.studies < 1 or self.height < 64:
            raise ValueError("phantom: `studies` must be at least 1 and `height` at least 64")
        for name in ("prevalence", "report_error", "vagueness", "omission"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"phantom: `{name}` is a probability and must lie in 0..1")
