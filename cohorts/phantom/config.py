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

PROBABILITIES = (
    *("prevalence", "report_error", "vagueness", "omission"),
    *("shortcut_seen", "shortcut_tested", "faintness"),
)
DEVICES = ("Simulo DX", "Simulo Mobile", "Radiant 7")
SITES = ("North", "South")
CUES = ("tube", "line")  # that may be planted as a shortcut
SHORTENED = "pneumothorax"  # the finding that a planted shortcut leads to
FAINT = ("pneumothorax", "effusion")  # findings that are fainter in a planted group
GROUPS = tuple(f"sex={sex}" for sex in "FM") + tuple(
    f"{fact}={name}" for fact, names in (("device", DEVICES), ("site", SITES)) for name in names
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
    shortcut: str = setting(
        "", "Fault for an audit to find: the finding, tube or line, that comes with pneumothorax. Empty: none."
    )
    shortcut_seen: float = setting(0.9, "Probability of the shortcut with pneumothorax in train and validate.")
    shortcut_tested: float = setting(0.5, "Probability of the shortcut with pneumothorax in test.")
    faint_group: str = setting(
        "", "Fault for an audit to find: a group with fainter findings, such as sex=F or site=North. Empty: none."
    )
    faintness: float = setting(0.5, "Share of the strength that pneumothorax and effusion lose in the faint group.")

    def __post_init__(self) -> None:
        if self.studies < 1 or self.height < 64:
            raise SettingError("phantom: `studies` must be at least 1 and `height` at least 64")
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"phantom: `{name}` is a probability and must lie in 0..1")
        for name, known in (("shortcut", CUES), ("faint_group", GROUPS)):
            if (value := getattr(self, name)) and value not in known:
                raise SettingError(f"phantom: `{name}` is {value!r}, but must be empty or one of {', '.join(known)}")
