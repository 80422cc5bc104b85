"""What was measured of one number: a value with its interval, or several with their deviation, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.metrics.statistics import summarise_seeds

PHANTOM = "phantom"  # the cohort whose images are drawn, also in rows that do not say so
NOT_SCORED = "not scored"
FEWEST = 10  # images of a class that a claim needs: LRCLR's and CheXzero's tables have classes with four and five

Row = Mapping[str, Any]  # of `results`


@dataclass(frozen=True)
class MeasuredValue:
    """A measured number: of one seed and repeat with its interval, or the mean of several with their deviation."""

    value: float | None  # None: it could not be scored, or failed
    low: float | None
    high: float | None
    std: float | None
    seeds: int  # pretrained networks
    repeats: int  # evaluations of each: label fraction, order of images, new layers
    n: int
    runs: tuple[str, ...] = ()  # of MLflow
    notes: tuple[str, ...] = ()  # why there is no value, or why some repeats have none
    simulated: bool = False  # on simulated images

    @property
    def state(self) -> str:
        """What stands in the place of a value: failed, not available, nothing to score, not scored."""
        states = [note.partition(":")[0] for note in self.notes]
        return "failed" if "failed" in states else (states or [NOT_SCORED])[0]

    @property
    def repeated(self) -> str:
        """How many seeds and repeats the mean is of."""
        counts = ((self.seeds, "seeds"), (self.repeats, "repeats"))
        return ", ".join(f"{count} {name}" for count, name in counts if count > 1)


def summarise_rows(rows: Sequence[Row]) -> MeasuredValue:
    """The number that `rows` hold, which are its seeds and repeats."""
    scored = [row for row in rows if row["value"] is not None]
    runs = tuple(dict.fromkeys(row["mlflow_run"] for row in rows if row["mlflow_run"]))
    notes = tuple(dict.fromkeys(row["note"] for row in rows if row["note"]))
    seeds, repeats = (len({row[name] for row in scored}) for name in ("seed", "repeat"))
    first = (scored or rows)[0]
    shared = {"n": first["n"], "runs": runs, "notes": notes, "simulated": any(map(is_simulated, rows))}
    if len(scored) < 2:
        return MeasuredValue(first["value"], first["low"], first["high"], None, seeds, repeats, **shared)
    spread = summarise_seeds([row["value"] for row in scored])
    return MeasuredValue(spread.mean, None, None, spread.std, seeds, repeats, **shared)


def describe_rows(rows: Sequence[Row]) -> list[str]:
    """What a reader of the number must know: why there is none, and what it was measured on."""
    found = [f"Measured: {note}{'' if note.endswith('.') else '.'}" for note in summarise_rows(rows).notes]
    if any(map(is_simulated, rows)):
        found.append(
            "Measured on simulated images: neither the number nor its difference to a published one says anything about "
            "patients."
        )
    if len({row["data_version"] for row in rows if row["value"] is not None}) > 1:
        found.append("Measured: the seeds and repeats saw different versions of the data.")
    return found


def describe_classes(rows: Sequence[Row]) -> list[str]:
    """What a reader of a number must know of the classes behind it, whose own numbers are `rows`."""
    unscored = dict.fromkeys(row["class"] for row in rows if row["value"] is None)
    few = dict.fromkeys(row["class"] for row in rows if row["value"] is not None and _count_positives(row) < FEWEST)
    found = (
        [f"Measured without {', '.join(unscored)}: what cannot be scored is in no mean."] if unscored else []
    )
    return found + ([f"Measured on fewer than {FEWEST} images that have {', '.join(few)}: no claim."] if few else [])


def _count_positives(row: Row) -> int:
    """Images that have the class; all of them where that is not known."""
    positives = row.get("positives")
    return int(row["n"] if positives is None else positives)


def is_simulated(row: Row) -> bool:
    """Whether the images are simulated."""
    return bool(row["simulated"]) or row["cohort"] == PHANTOM
