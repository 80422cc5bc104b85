"""The published numbers, as printed and as rows of `results`. They never replace measured ones.

`data/published.csv` holds every number of the papers with its source, `data/model_cards.csv` those of public model
cards. `data/published_names.yaml` maps printed names to ours.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from evaluation.metrics.values import MACRO, ZERO_SHOT
from evaluation.results.schema import RESULTS

DATA = Path(__file__).parent / "data"
FILES = ("published.csv", "model_cards.csv")
UNITS = {"percent": 0.01, "percent points": 0.01, "fraction": 1.0, "rank": 1.0, "ratio": 1.0}  # to fractions
FRACTION = re.compile(r"(\d+(?:\.\d+)?) ?%")  # of the labels, in a setting
STD = re.compile(r"std=([\d.]+)(?:; )?")  # in the notes of a mean of several runs
WITH_NETWORK = ("segmentation", "detection")  # tasks whose setting also says whether the encoder is tuned


@dataclass(frozen=True)
class PublishedNumber:
    """A published number: its place and names as printed, and its `value` in `unit`."""

    source: str
    table: str
    method: str
    backbone: str
    pretraining_data: str
    dataset: str
    task: str
    setting: str
    metric: str
    value: float
    unit: str
    notes: str

    @property
    def place(self) -> str:
        """Where it is printed."""
        return f"{self.source}, {self.table}"

    @property
    def std(self) -> float | None:
        """The std of the runs behind a mean, as a fraction; None for a single run."""
        found = STD.search(self.notes)
        return float(found[1]) * UNITS[self.unit] if found else None

    @property
    def remark(self) -> str:
        """The notes without the std."""
        return STD.sub("", self.notes).rstrip("; ")


@cache
def read_published() -> tuple[PublishedNumber, ...]:
    """Every published number, in the order of the files."""
    return tuple(number for name in FILES for number in _read_numbers(DATA / name))


def _read_numbers(path: Path) -> list[PublishedNumber]:
    with path.open(newline="", encoding="utf-8") as file:
        return [PublishedNumber(value=float(row.pop("value")), **row) for row in csv.DictReader(file)]


def find_counterpart(number: PublishedNumber) -> str | None:
    """The network of ours that a printed row is, as results call it; None where there is none."""
    found = _read_names()["methods"].get(number.source, {}).get(number.method)
    name: str | None = found.get(number.task) if isinstance(found, dict) else found
    return name


def explain_missing(number: PublishedNumber) -> str:
    """Why a printed row has no network of ours beside it; empty where nobody has said."""
    return str(_read_names()["without"].get(number.source, {}).get(number.method, ""))


def averaged_classes(number: PublishedNumber) -> tuple[str, ...]:
    """The classes that a printed mean is over, where ours is over more; empty where it is over the same."""
    return tuple(_read_names()["means"].get(number.dataset, {}).get(number.task, ()))


def to_row(number: PublishedNumber) -> dict[str, Any]:
    """The number as a row of `results`, with our names where we have them, and as a fraction."""
    names = _read_names()
    averaged = averaged_classes(number)
    mean = f"mean of {len(averaged)}" if averaged else MACRO
    chance = names["chance"].get(number.source, {}).get(number.method, {}).get(number.task)
    return {
        "method": find_counterpart(number) or number.method,
        "checkpoint": "",
        "mlflow_run": "",
        "cohort": names["cohorts"].get(number.dataset, number.dataset),
        "data_version": "",
        "task": names["tasks"].get(number.task, number.task),
        "setting": _translate_setting(number, names["tasks"].get(number.task, number.task)),
        "metric": chance or names["metrics"].get(number.metric, number.metric),
        "class": names["classes"].get(number.setting, mean),
        "value": number.value * UNITS[number.unit],
        "low": None,
        "high": None,
        "n": 0,
        "seed": 0,
        "source": number.place,
        "protocol": "",
        "note": "; ".join(part for part in (number.backbone, number.pretraining_data, number.notes) if part),
    }


def tabulate_published() -> pa.Table:
    """All published numbers as rows of `results`, `source` naming the table that each is printed in."""
    return pa.Table.from_pylist([to_row(number) for number in read_published()], RESULTS)


def _translate_setting(number: PublishedNumber, task: str) -> str:
    """Our name of the setting, such as `zero-shot` or, by the fraction of the labels, `1 %`; or else as printed."""
    if task.startswith("zero_shot"):
        return ZERO_SHOT
    if number.setting == "all":
        return "100 %"
    if known := _read_names()["settings"].get(number.task, {}).get(number.setting):
        return str(known)
    fraction = FRACTION.search(number.setting)
    other_protocol = "," in number.setting or ("linear " in number.setting and task != "linear_probe")
    if not fraction or other_protocol:
        return number.setting
    tuned = task in WITH_NETWORK and "fine-tun" in number.setting
    return f"{fraction[1]} %{', tuned' if tuned else ''}"


@cache
def _read_names() -> dict[str, Any]:
    with (DATA / "published_names.yaml").open(encoding="utf-8") as file:
        names: dict[str, Any] = yaml.safe_load(file)
    return names
