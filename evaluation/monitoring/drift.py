"""How far each night is from the reference, and how well findings are told in the nights before it.

There are two families of quantities. `inputs` are compared with the training split: grey levels, age, view, device,
site, sex, and the share of images of which the report or the archive calls a finding present. `scores` are compared
with the images that were held out of the training, because a network scores images that it has learnt from otherwise.
Each family has half of the probability of a false warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts.labels import label_matrix, label_names
from evaluation.metrics.classification import RESAMPLES, aurocs, patient_weights
from evaluation.metrics.values import MACRO, summarise
from evaluation.monitoring.nights import HELD_OUT, TRAIN, Series
from evaluation.monitoring.permutation import Distance, measure_distances
from store import batches
from store.batches import Batch, Plan
from store.code import code_version
from store.digests import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from evaluation.monitoring.settings import MonitoringSettings

INPUTS, SCORES, ACCURACY = FAMILIES = "inputs", "scores", "accuracy"
NUMBERS = {"grey": "mean grey level", "contrast": "contrast", "age": "age"}  # column -> how it is called
GROUPS = {"kind": "kind of view", "view": "view", "device": "device", "site": "site", "sex": "sex"}
UNKNOWN = "not said"
SHOWN = 3  # groups that are named
BINS = 10  # of the population stability index

DRIFT = pa.schema(
    [
        pa.field("night", pa.string(), nullable=False),
        pa.field("family", pa.string(), nullable=False),
        pa.field("quantity", pa.string(), nullable=False),
        pa.field("images", pa.int32(), nullable=False),  # of the night, of which it is known; of accuracy: labelled
        pa.field("value", pa.float32()),  # mean, share or AUROC
        pa.field("reference", pa.float32()),
        pa.field("low", pa.float32()),  # where the value of a night without drift lies, 95 %; of accuracy: its interval
        pa.field("high", pa.float32()),
        pa.field("distance", pa.float32()),  # 0..1, see evaluation.monitoring.permutation; null for accuracy
        pa.field("limit", pa.float32()),  # the least distance that is warned of
        pa.field("p", pa.float32()),
        pa.field("adjusted", pa.float32()),  # p, corrected for the number of quantities
        pa.field("psi", pa.float32()),  # population stability index
        pa.field("wasserstein", pa.float32()),  # of numbers, in their unit
        pa.field("groups", pa.string()),  # what of it there is most of, with counts
        pa.field("warned", pa.bool_(), nullable=False),
    ],
    metadata={"table": "drift", "version": "1"},
)


def update_drift(folder: Path, series: Series, settings: MonitoringSettings) -> pa.Table:
    """A row of DRIFT per night and quantity; nights are computed that are new, or whose images or code changed."""
    code = code_version(__name__)
    cut = []
    for place, night in enumerate(series.nights):
        window = [one.name for one in series.nights[max(0, place + 1 - settings.window) : place + 1]]
        read = [series.fingerprints[name] for name in (TRAIN, HELD_OUT, *window)]
        batch = Batch(night.name, fingerprint("drift", code, asdict(settings), read))

        def compute(name: str = night.name, window: Sequence[str] = window) -> batches.Computed:
            rows = [*compare_night(series, name, settings), *measure_accuracy(series, window)]
            return pa.Table.from_pylist(rows, schema=DRIFT), None

        batches.run_batch(folder, batch, compute)
        cut.append(batch)
    batches.commit(folder, Plan(tuple(cut), asdict(settings)))
    return batches.read_batches(folder) if cut else DRIFT.empty_table()


def compare_night(series: Series, name: str, settings: MonitoringSettings) -> Iterator[dict[str, Any]]:
    """The rows of inputs and scores of a night."""
    night = series.tables[name]
    for family, reference in ((INPUTS, series.tables[TRAIN]), (SCORES, series.tables[HELD_OUT])):
        if not reference.num_rows or not night.num_rows:
            continue
        whole = pa.concat_tables([reference, night])
        patients = np.concatenate([reference["patient"].to_numpy(), -1 - night["patient"].to_numpy()])
        numbers = dict(_numbers(whole, family))
        groups = {quantity: _encode(values) for quantity, values in _groups(whole, family)}
        codes = {quantity: found[0] for quantity, found in groups.items()}
        level = settings.level / 2
        found = measure_distances(numbers, codes, patients, night.num_rows, level, settings.resamples)
        for quantity, distance in found.items():
            row = {"night": name, "family": family, "quantity": quantity, **_of_distance(distance)}
            if quantity in numbers:
                yield {**row, **_of_numbers(numbers[quantity], night.num_rows)}
            else:
                yield {**row, **_of_groups(*groups[quantity], night.num_rows)}


def measure_accuracy(series: Series, window: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The AUROC of each finding and their mean over the nights of a window, beside those of what was held out."""
    findings = list(series.findings)
    held_out = _scored(series.tables[HELD_OUT], findings)
    recent = _scored(pa.concat_tables(series.tables[name] for name in window), findings)
    if held_out is None or recent is None:
        return
    before, now = _aurocs(*held_out, findings), _aurocs(*recent, findings)
    for quantity in (*findings, MACRO):
        if (value := now[quantity].value) is None:
            continue
        then = before[quantity]
        yield {
            "night": window[-1],
            "family": ACCURACY,
            "quantity": "mean AUROC" if quantity == MACRO else f"AUROC: {quantity}",
            "images": now[quantity].n,
            "value": value,
            "reference": then.value,
            "low": now[quantity].low,
            "high": now[quantity].high,
            "warned": False,
        }


def _aurocs(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    points, resampled = aurocs(labels, scores, patient_weights(patients, RESAMPLES, 0))
    counts = (~np.isnan(labels)).sum(axis=0)
    return {value.class_name: value for value in summarise("auroc", names, points, resampled, counts)}


def _scored(table: pa.Table, findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Scores and labels (images, findings), 1, 0 or nan, and patients; None where there is neither."""
    if not table.num_rows or table["scores"].null_count:
        return None
    labels = label_matrix(table["labels"], list(findings))
    night = np.repeat(np.arange(table["patient"].num_chunks), [len(chunk) for chunk in table["patient"].chunks])
    patients = np.char.add(np.char.add(night.astype(str), "/"), table["patient"].to_numpy().astype(str))
    return label_matrix(table["scores"], list(findings)), np.where(np.isin(labels, (0, 1)), labels, np.nan), patients


def _numbers(table: pa.Table, family: str) -> Iterator[tuple[str, np.ndarray]]:
    if family == INPUTS:
        for column, quantity in NUMBERS.items():
            yield quantity, table[column].to_numpy().astype(float)
        return
    if not table["scores"].null_count:
        names = label_names(table["scores"])
        for name, values in zip(names, label_matrix(table["scores"], names).T.astype(float), strict=True):
            yield f"score: {name}", values


def _groups(table: pa.Table, family: str) -> Iterator[tuple[str, list[str]]]:
    if family != INPUTS:
        return
    for column, quantity in GROUPS.items():
        yield quantity, [value or UNKNOWN for value in table[column].to_pylist()]
    names = label_names(table["labels"])
    for name, values in zip(names, label_matrix(table["labels"], names).T, strict=True):
        yield f"finding: {name}", ["present" if value == 1 else "else" for value in values.tolist()]


def _encode(values: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    names, codes = np.unique(np.array(values), return_inverse=True)
    return codes, names.tolist()


def _of_distance(distance: Distance) -> dict[str, Any]:
    return {
        "distance": distance.value,
        "limit": distance.limit,
        "p": distance.p,
        "adjusted": distance.adjusted,
        "warned": distance.warned,
    }


def _of_numbers(values: np.ndarray, night: int) -> dict[str, Any]:
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


def _of_groups(codes: np.ndarray, names: Sequence[str], night: int) -> dict[str, Any]:
    reference, own = (np.bincount(part, minlength=len(names)) for part in (codes[:-night], codes[-night:]))
    row = {"images": night, "psi": stability_index(reference, own), "groups": _name_groups(names, reference, own)}
    if names != ["else", "present"]:
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
    drawn = np.random.default_rng(0).choice(reference, (1000, count)).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _name_groups(names: Sequence[str], reference: np.ndarray, night: np.ndarray) -> str:
    """The groups whose share differs most, with counts of the night and shares of the reference."""
    shares = reference / max(reference.sum(), 1)
    order = np.argsort(-np.abs(night / max(night.sum(), 1) - shares), kind="stable")[:SHOWN]
    return "; ".join(f"{names[place]}: {night[place]} of {night.sum()} ({shares[place]:.0%})" for place in order)


def warnings_by_night(drift: pa.Table) -> Mapping[str, list[str]]:
    """The quantities that each night is warned of; nights without a warning are not in it."""
    found: dict[str, list[str]] = {}
    for row in drift.select(["night", "quantity", "warned"]).to_pylist():
        if row["warned"]:
            found.setdefault(row["night"], []).append(row["quantity"])
    return found


def farthest(rows: Sequence[Mapping[str, Any]]) -> float:
    """The largest distance of some rows, as a multiple of its limit; from 1 on it is warned of."""
    return max((row["distance"] / row["limit"] for row in rows if row["limit"]), default=0.0)
