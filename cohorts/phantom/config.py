"""The settings of the simulator, and the findings that it knows."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import SettingError
from store.settings import setting

VERSION = "1"  # raise it when the same seed gives other images or reports

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

    studies: int = setting(3600, "Studies to simulate.")
    seed: int = setting(0, "Seed of the simulation.")
    height: int = setting(224, "Rows of an image. The number of columns varies around it.")
    prevalence: float = setting(0.25, "Probability of each finding.")
    report_error: float = setting(0.03, "Probability that a statement about a finding is wrong.")
    vagueness: float = setting(0.08, "Probability that a finding is described without its name.")
    omission: float = setting(
        0.08, "Probability that a plain finding is left out of the report; doubled for a subtle one."
    )

    def __post_init__(self) -> None:
        if self.studies < 1 or self.height < 64:
            raise SettingError("phantom: `studies` must be at least 1 and `height` at least 64")
        for name in ("prevalence", "report_error", "vagueness", "omission"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"phantom: `{name}` is a probability and must lie in 0..1")
