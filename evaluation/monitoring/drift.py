"""How far nights are from the reference: each by itself, and the last ones together.

The inputs of a night are compared with the training split, its scores with the images that were held out of the
training, because a network scores images that it has learnt from otherwise. A night by itself shows what changes at
once, and the last nights together what changes little by little. A night that is warned of by itself is in no window,
so that it is warned of once. Inputs and scores, of one night and of several, are four families, each of which has a
quarter of the probability of a false warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evaluation.monitoring.accuracy import ACCURACY, measure_accuracy
from evaluation.monitoring.nights import HELD_OUT, TRAIN, Series, choose_images
from evaluation.monitoring.permutation import Distance, measure_distances
from evaluation.monitoring.quantities import (
    INPUTS,
    SCORES,
    describe_groups,
    describe_numbers,
    encode,
    read_groups,
    read_numbers,
)
from evaluation.monitoring.scored import number_patients
from evaluation.monitoring.settings import TESTS, MonitoringSettings
from store import batches
from store.batches import Batch, Plan
from store.code import code_version
from store.digests import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = (ACCURACY, INPUTS, SCORES)

DRIFT = pa.schema(
    [
        pa.field("night", pa.string(), nullable=False),
        pa.field("family", pa.string(), nullable=False),
        pa.field("quantity", pa.string(), nullable=False),
        pa.field("nights", pa.int32(), nullable=False),  # that are taken together: this one, or the last ones
        pa.field("images", pa.int32(), nullable=False),  # of these nights, of which it is known
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
    cut: list[Batch] = []
    usual: list[str] = []  # nights that are not warned of by themselves
    for place, night in enumerate(series.nights):
        recent = [one.name for one in series.nights[max(0, place + 1 - settings.window) : place + 1]]
        window = [*(name for name in recent[:-1] if name in usual), night.name]
        read = [[series.fingerprints[name] for name in names] for names in ((TRAIN, HELD_OUT), recent, window)]
        batch = Batch(night.name, fingerprint("drift", code, asdict(settings), read))

        def compute(recent: Sequence[str] = recent, window: Sequence[str] = window) -> batches.Computed:
            rows = [*compare_nights(series, recent[-1:], settings)]
            if len(window) > 1 and not any(row["warned"] for row in rows):
                rows += compare_nights(series, window, settings)
            return pa.Table.from_pylist([*rows, *measure_accuracy(series, recent)], schema=DRIFT), None

        batches.run_batch(folder, batch, compute)
        found = pq.read_table(batches.intact_path(folder, batch, verified=True)).to_pylist()
        if not any(row["warned"] and row["nights"] == 1 for row in found):
            usual.append(night.name)
        cut.append(batch)
    batches.commit(folder, Plan(tuple(cut), asdict(settings)))
    return batches.read_batches(folder) if cut else DRIFT.empty_table()


def compare_nights(series: Series, names: Sequence[str], settings: MonitoringSettings) -> Iterator[dict[str, Any]]:
    """The rows of inputs and scores of some nights together, which are those of the last of them.

    At most `reference` images stand for the nights, as for what they are compared with: random nights take memory.
    """
    nights = _sample([series.tables[name] for name in names], settings.reference)
    count = sum(night.num_rows for night in nights)
    for family, reference in ((INPUTS, series.tables[TRAIN]), (SCORES, series.tables[HELD_OUT])):
        if not reference.num_rows or not count:
            continue
        whole = pa.concat_tables([reference, *nights])
        patients = number_patients([reference, *nights])
        numbers = dict(read_numbers(whole, family))
        groups = {quantity: encode(values) for quantity, values in read_groups(whole, family)}
        codes = {quantity: found[0] for quantity, found in groups.items()}
        found = measure_distances(numbers, codes, patients, count, settings.level / TESTS, settings.resamples)
        for quantity, distance in found.items():
            row = {"night": names[-1], "family": family, "quantity": quantity, "nights": len(names)}
            described = (
                describe_numbers(numbers[quantity], count)
                if quantity in numbers
                else describe_groups(*groups[quantity], count)
            )
            yield {**row, **_of_distance(distance), **described}


def _sample(nights: Sequence[pa.Table], most: int) -> list[pa.Table]:
    """The nights with at most so many images together."""
    ids = pa.chunked_array([chunk for night in nights for chunk in night["image_id"].chunks], pa.string())
    if len(ids) <= most:
        return list(nights)
    chosen = pa.array(choose_images(ids.to_pylist(), most), pa.string())
    return [night.filter(pc.is_in(night["image_id"], chosen)) for night in nights]


def _of_distance(distance: Distance) -> dict[str, Any]:
    return {
        "distance": distance.value,
        "limit": distance.limit,
        "p": distance.p,
        "adjusted": distance.adjusted,
        "warned": distance.warned,
    }


def warnings_by_night(drift: pa.Table) -> Mapping[str, list[str]]:
    """The quantities that each night is warned of; nights without a warning are not in it."""
    found: dict[str, list[str]] = {}
    for row in drift.select(["night", "quantity", "nights", "warned"]).to_pylist():
        if row["warned"]:
            found.setdefault(row["night"], []).append(name_quantity(row))
    return found


def name_quantity(row: Mapping[str, Any]) -> str:
    """A quantity as a warning names it: `contrast`, or `contrast over 7 nights`."""
    return row["quantity"] if row["nights"] == 1 else f"{row['quantity']} over {row['nights']} nights"


def farthest(rows: Sequence[Mapping[str, Any]]) -> float:
    """The largest distance of some rows, as a multiple of its limit; from 1 on it is warned of."""
    return max((row["distance"] / row["limit"] for row in rows if row["limit"]), default=0.0)
