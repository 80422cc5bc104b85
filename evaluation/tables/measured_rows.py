"""Finds the measured rows of `results` that belong to a published number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from evaluation.metrics.values import MACRO
from evaluation.results.summary import UNTRAINED, Row, describe_classes, describe_rows
from evaluation.tables.published import FRACTION
from evaluation.tasks.base import BY_STUDY, OF_VIEW

Key = tuple[str, str, str, str, str, str]  # method, cohort, task, level, metric, class


class MeasuredRows:
    """The measured rows by the key that they share with published numbers."""

    def __init__(self, rows: Iterable[Row], departures: Mapping[str, str] | None = None) -> None:
        """`departures` say by network how it was made, where that is not a training with a paper's preset."""
        self._departures = departures or {}
        self.rows: dict[Key, list[Row]] = defaultdict(list)
        self._unscored: dict[Key, list[Row]] = defaultdict(list)  # by measurement: rows without a number
        self._classes: dict[Key, list[Row]] = defaultdict(list)  # by mean: the rows of its classes
        for row in rows:
            key = make_key(row)
            self.rows[key].append(row)
            if row["note"] and row["value"] is None:
                self._unscored[_drop_metric(key)].append(row)
            if row["class"] != MACRO:
                self._classes[(*key[:5], MACRO)].append(row)

    def find(self, key: Key) -> list[Row]:
        """The seeds and repeats of a number, and the failed ones of the same measurement."""
        rows = self.rows.get(key, [])
        return [*rows, *(row for row in self._unscored.get(_drop_metric(key), ()) if row not in rows)]

    def describe_training(self, network: str) -> str:
        """A sentence where a network was not trained here with a paper's preset; else empty."""
        how = self._departures.get(network.removeprefix(UNTRAINED), "")
        return f"Measured: {network} {how}." if how else ""

    def average(self, key: Key, classes: Sequence[str]) -> list[Row]:
        """The mean over `classes` of each seed and repeat in which all of them were scored, without an interval."""
        found: dict[tuple[object, ...], list[Row]] = defaultdict(list)
        for name in classes:
            for row in self.rows.get((*key[:5], _unify_class(name)), ()):
                if row["value"] is not None:
                    found[row["seed"], row["repeat"], row["data_version"]].append(row)
        whole = [rows for rows in found.values() if len(rows) == len(classes)]
        mean = {"class": key[-1], "low": None, "high": None, "n": len(classes)}
        return [{**rows[0], **mean, "value": fmean(row["value"] for row in rows)} for rows in whole]

    def describe(self, key: Key) -> list[str]:
        """Sentences about how the number was measured."""
        members = self.find(key)
        classes = (
            self._classes.get(key, ()) if key[-1] == MACRO else [row for row in members if row["value"] is not None]
        )
        return [*describe_rows(members), *describe_classes(classes)] if members else []


def make_key(row: Row) -> Key:
    """The key that a measured and a published row share. Settings and classes may be spelt differently."""
    name = _unify_class(row["class"])
    return row["method"], row["cohort"], row["task"], _unify_setting(row["setting"]), row["metric"], name


def sort_key(key: Key) -> tuple[str, bool, bool, str, float]:
    """Sort by method, with its variants and its untrained network after it, then cohort, then label fraction."""
    fraction = FRACTION.search(key[3])
    method, untrained = key[0].removeprefix(UNTRAINED), key[0].startswith(UNTRAINED)
    return method, untrained, "tuned" in key[3], key[1], float(fraction[1]) if fraction else 0.0


def _drop_metric(key: Key) -> Key:
    """The part of the key that all numbers of one measurement share."""
    return (*key[:4], "", "")


def _unify_class(name: str) -> str:
    return name.lower().replace("_", " ")


def _unify_setting(setting: str) -> str:
    """The fraction of the labels, whether the encoder is tuned, the unit and the view; without a fraction the setting
    itself."""
    fraction = FRACTION.search(setting)
    if not fraction:
        return setting
    others = [end for end in (BY_STUDY, *filter(None, OF_VIEW.values())) if end in setting]
    return "".join([f"{fraction[1]} %", " tuned" * ("tun" in setting), *others])
