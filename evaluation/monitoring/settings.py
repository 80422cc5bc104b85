"""How new studies are followed."""

from __future__ import annotations

from dataclasses import dataclass

from store.errors import SettingError
from store.settings import setting

TESTS = 4  # of a night: inputs and scores, by itself and with those before it


@dataclass(frozen=True)
class MonitoringSettings:
    """When a night is called different, and from what."""

    level: float = setting(
        0.01, "Probability that a night without drift is warned of; 0.01: one false warning in 100 nights.", above=0
    )
    resamples: int = setting(9999, "Random nights that each night is compared with.", least=99)
    reference: int = setting(
        5000,
        "Images at most that stand for the training split, for what was held out of it, and for the nights compared.",
        least=20,
    )
    window: int = setting(7, "Nights whose labelled studies an AUROC is computed on together.", least=1)

    def __post_init__(self) -> None:
        if self.level * (1 + self.resamples) < TESTS:
            raise SettingError(
                f"{self.resamples} random nights are too few for a level of {self.level:g}: `resamples` must be at "
                f"least {round(TESTS / self.level) if self.level > 0 else 0}."
            )
