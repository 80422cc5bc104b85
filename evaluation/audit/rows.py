"""The numbers of an audit, as rows that are stored and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

# Kinds of tests. The first three are gaps between groups, the last two are tests of shortcuts.
AUROC, MISS_RATE, FALSE_ALARM_RATE = "AUROC", "miss rate", "false alarm rate"
NEGATIVES, PAINTED = "scores of negatives", "cue painted over"
GAPS = (AUROC, MISS_RATE, FALSE_ALARM_RATE)
SHORTCUTS = (NEGATIVES, PAINTED)
ALL_FINDINGS = "mean over findings"  # in place of a finding: a gap of the mean


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval by patient; None where it cannot be measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CalibrationRow:
    """The calibration of the scores of one finding on test, with a scaling that was fitted on validate."""

    finding: str
    scaling: str  # none, temperature, temperature and offset
    images: int
    positives: int
    error: Interval  # expected calibration error
    brier: Interval
    slope: float = 1.0
    offset: float = 0.0
    curve: tuple[tuple[int, float, float], ...] = ()  # images, mean score and share with the finding of each bin
    reason: str = ""  # why there are no numbers


@dataclass(frozen=True)
class OperatingRow:
    """One finding at a threshold that was chosen on validate, measured on test."""

    finding: str
    point: str
    threshold: float | None
    images: int
    positives: int
    rates: Mapping[str, Interval]  # sensitivity, specificity, PPV, NPV
    reason: str = ""


@dataclass(frozen=True)
class Tested:
    """A gap between groups, or an effect of a cue: the test of one hypothesis."""

    kind: str
    finding: str
    fact: str  # sex, age, view, device, site, or the cue
    group: str
    against: str
    present: int  # images of the group that have the finding
    absent: int  # images of the group that do not
    value: float | None = None  # of the group
    reference: float | None = None  # of what it is compared with
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None  # p, corrected for all tests of the audit
    reason: str = ""  # why it was not measured


@dataclass(frozen=True)
class CueRow:
    """How a finding and a cue come together, and what of the AUROC is left where the cue cannot help."""

    finding: str
    cue: str
    train: tuple[float | None, float | None]  # share of the images with the cue, with and without the finding
    test: tuple[float | None, float | None]
    across: float | None  # AUROC
    within: float | None  # AUROC over the pairs of images that both have the cue, or both lack it


@dataclass(frozen=True)
class CountRow:
    """How many images of a split, or of a group of it, have a finding."""

    split: str
    fact: str  # empty: the whole split
    group: str
    finding: str
    images: int
    known: int
    positives: int

    @property
    def prevalence(self) -> float | None:
        """The share of the images in which the finding is known to be present or absent that have it."""
        return self.positives / self.known if self.known else None


@dataclass(frozen=True)
class DatasetAudit:
    """Everything that was measured on one dataset."""

    dataset: str
    data_version: str
    simulated: bool
    images: Mapping[str, int]  # by split
    patients: Mapping[str, int]
    dates: tuple[str, str]  # first and last of the studies; empty where there are none
    calibration: list[CalibrationRow] = field(default_factory=list)
    operating_points: list[OperatingRow] = field(default_factory=list)
    tests: list[Tested] = field(default_factory=list)
    cues: list[CueRow] = field(default_factory=list)
    counts: list[CountRow] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)  # sentences: what was not measured, and why

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can write it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DatasetAudit:
        """What `as_dict` gave."""
        rows: dict[str, Callable[[Any], Any]] = {
            "calibration": _read_calibration,
            "operating_points": _read_operating,
            "tests": lambda row: Tested(**row),
            "cues": lambda row: CueRow(**{**row, "train": tuple(row["train"]), "test": tuple(row["test"])}),
            "counts": lambda row: CountRow(**row),
        }
        plain = {item.name: content[item.name] for item in fields(cls) if item.name not in rows}
        read: dict[str, Any] = {name: [make(row) for row in content[name]] for name, make in rows.items()}
        return cls(**{**plain, "dates": tuple(content["dates"])}, **read)


def _read_calibration(row: Mapping[str, Any]) -> CalibrationRow:
    curve = tuple((count, score, share) for count, score, share in row["curve"])
    intervals = {name: Interval(**row[name]) for name in ("error", "brier")}
    return CalibrationRow(**{**row, **intervals, "curve": curve})


def _read_operating(row: Mapping[str, Any]) -> OperatingRow:
    return OperatingRow(**{**row, "rates": {name: Interval(**value) for name, value in row["rates"].items()}})
