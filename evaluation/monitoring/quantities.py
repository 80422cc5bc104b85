"""What nights are compared in: the quantities of a family, and how they are distributed in a night.

`inputs` are grey levels, age, view, device, site, sex, and the share of images of which the archive or the report calls
a finding present. `scores` are those of the findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cohorts.labels import label_matrix, label_names

INPUTS, SCORES = "inputs", "scores"
NUMBERS = {"grey": "mean grey level", "contrast": "contrast", "age": "age"}  # column -> how it is called
GROUPS = {"kind": "kind of view", "view": "view", "device": "device", "site": "site", "sex": "sex"}
UNKNOWN = "not said"
ELSE, PRESENT = "else", "present"  # groups of a finding
SHOWN = 3  # groups that are named
BINS = 10  # of the population stability index
MEANS = 1000  # that are drawn for the range of means


def read_numbers(table: pa.Table, family: str) -> Iterator[tuple[str, np.ndarray]]:
    """The quantities of a family that are numbers: name and values (rows,), nan where one is not known."""
    if family == INPUTS:
        for column, quantity in NUMBERS.items():
            yield quantity, table[column].to_numpy().astype(float)
        return
    if not table["scores"].null_count:
        names = label_names(table["scores"])
        for name, values in zip(names, label_matrix(table["scores"], names).T.astype(float), strict=True):
            yield f"score: {name}", values


def read_groups(table: pa.Table, family: str) -> Iterator[tuple[str, list[str]]]:
    """The quantities of a family that are groups: name and the group of each row."""
    if family != INPUTS:
        return
    for column, quantity in GROUPS.items():
        yield quantity, [value or UNKNOWN for value in table[column].to_pylist()]
    names = label_names(table["labels"])
    for name, values in zip(names, label_matrix(table["labels"], names).T, strict=True):
        yield f"finding: {name}", [PRESENT if value == 1 else ELSE for value in values.tolist()]


def encode(values: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Codes (rows,) of groups, and the names of the groups."""
    names, codes = np.unique(np.array(values), return_inverse=True)
    return codes, names.tolist()


def describe_numbers(values: np.ndarray, night: int) -> dict[str, Any]:
    """Columns of the table of drift: how the last `night` values and those before them are distributed."""
    from scipy.stats import wasserstein_distance

    reference, own = (part[~np.isnan(part)] for part in (values[:-night], values[-night:]))
    if not len(reference) or not len(own):
        return {"images": len(own), "groups": None}
    low, high = _range_of_means(reference, len(own))
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    binned = [np.bincount(np.searchsorted(edges, part, "right"), minlength=len(edges) + 1) for part in (reference, own)]
    return {
        "images": len(own),
        "value": own.mean(),
        "reference": reference.mean(),
        "low": low,
        "high": high,
        "psi": stability_index(*binned),
        "wasserstein": wasserstein_distance(reference, own),
    }


def describe_groups(codes: np.ndarray, names: Sequence[str], night: int) -> dict[str, Any]:
    """The same of groups, whose names are `names`."""
    reference, own = (np.bincount(part, minlength=len(names)) for part in (codes[:-night], codes[-night:]))
    row = {"images": night, "psi": stability_index(reference, own), "groups": _name_groups(names, reference, own)}
    if names != [ELSE, PRESENT]:
        return row
    low, high = _range_of_means((codes[:-night] == 1).astype(float), night)
    shares = {"value": own[1] / night, "reference": reference[1] / reference.sum()}
    return {**row, **shares, "low": low, "high": high, "groups": f"{own[1]} of {night} present"}


def stability_index(reference: np.ndarray, night: np.ndarray) -> float:
    """The population stability index of counts by group; half an image is added to each, so that none is zero."""
    then, now = ((counts + 0.5) / (counts + 0.5).sum() for counts in (reference, night))
    return float(((now - then) * np.log(now / then)).sum())


def _range_of_means(reference: np.ndarray, count: int) -> tuple[float, float]:
    """Where 95 % of the means of `count` values of the reference lie."""
    drawn = np.random.default_rng(0).choice(reference, (MEANS, count)).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _name_groups(names: Sequence[str], reference: np.ndarray, night: np.ndarray) -> str:
    """The groups whose share differs most, with counts of the night and shares of the reference."""
    shares = reference / max(reference.sum(), 1)
    order = np.argsort(-np.abs(night / max(night.sum(), 1) - shares), kind="stable")[:SHOWN]
    return "; ".join(f"{names[place]}: {night[place]} of {night.sum()} ({shares[place]:.0%})" for place in order)
