"""Who the simulated patients are, and faults that can be planted among them for an audit to find.

Facts follow from the seed and the numbers of the patient and of the study. They move no pixel, unless a fault says so.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Protocol

import numpy as np

from cohorts.phantom.config import DEVICES, FAINT, SHORTENED, SITES, PhantomConfig
from cohorts.phantom.findings import Finding, sample_finding

FIRST_DAY = date(2020, 1, 1)
STUDIES_A_DAY = 8


class Identified(Protocol):
    """What the facts of a study follow from."""

    @property
    def index(self) -> int: ...  # noqa: D102
    @property
    def subject_id(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Facts:
    """What an archive says of a study and its patient."""

    date: str  # yyyy-mm-dd
    sex: str  # F or M
    age: int
    device: str
    site: str


def facts_of(config: PhantomConfig, study: Identified) -> Facts:
    """The facts of a study. Sex, site and year of birth are those of the patient."""
    digest = hashlib.sha256(f"{config.seed}/{study.subject_id}/facts".encode()).digest()
    day = FIRST_DAY + timedelta(days=study.index // STUDIES_A_DAY)
    device = DEVICES[int(np.random.default_rng([config.seed, study.index, 3]).integers(len(DEVICES)))]
    born = FIRST_DAY.year - 20 - digest[0] % 70
    return Facts(day.isoformat(), "FM"[digest[1] % 2], day.year - born, device, SITES[digest[2] % len(SITES)])


def plant_faults(config: PhantomConfig, study: Identified, findings: list[Finding]) -> list[Finding]:
    """The findings of a study with the faults that `config` asks for: a shortcut, and a group of faint findings."""
    planted = _plant_shortcut(config, study, findings) if config.shortcut else findings
    fact, _, group = config.faint_group.partition("=")
    if fact and getattr(facts_of(config, study), fact) == group:
        return [
            replace(finding, strength=finding.strength * (1 - config.faintness)) if finding.name in FAINT else finding
            for finding in planted
        ]
    return planted


def _plant_shortcut(config: PhantomConfig, study: Identified, findings: list[Finding]) -> list[Finding]:
    """Let the cue come with pneumothorax as often as `config` says; without pneumothorax nothing changes."""
    if SHORTENED not in {finding.name for finding in findings}:
        return findings
    rng = np.random.default_rng([config.seed, study.index, 4])
    share = config.shortcut_tested if study.split == "test" else config.shortcut_seen
    others = [finding for finding in findings if finding.name != config.shortcut]
    cue = next((finding for finding in findings if finding.name == config.shortcut), None)
    if rng.random() >= share:
        return others
    return [*others, cue or sample_finding(config.shortcut, rng)]
