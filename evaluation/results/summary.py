"""Summarises the rows of one number: a value with its interval, a mean with its std, or why there is no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cohorts.phantom import PHANTOM
from evaluation.metrics.statistics import summarise_seeds

UNTRAINED = "untrained:"  # before the name of a method: its network before training
NOT_SCORED = "not scored"
OUTDATED = "outdated: "  # the beginning of the note of a number that may be none of what the dataset is now
FEWEST = 10  # images of a class that a claim needs; tables of LRCLR and CheXzero have classes with four and five

Row = Mapping[str, Any]  # of `results`


@dataclass(frozen=True)
class MeasuredValue:
    """A measured number: of one seed and repeat with its interval, or the mean of several with their std."""

    value: float | None  # None where it failed or could not be scored
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
        """The text in place of a missing value: failed, not available, nothing to score, or not scored."""
        states = [note.partition(":")[0] for note in self.notes]
        return "failed" if "failed" in states else (states or [NOT_SCORED])[0]

    @property
    def outdated(self) -> bool:
        """Whether there is a number that may be none of what the dataset is now."""
        return self.value is not None and any(note.startswith(OUTDATED) for note in self.notes)

    @property
    def outdated_mark(self) -> str:
        """The end of the text of an outdated number; empty for others."""
        return f", {OUTDATED.partition(':')[0]}" if self.outdated else ""

    @property
    def repeated(self) -> str:
        """The numbers of seeds and repeats behind the mean."""
        counts = ((self.seeds, "seeds"), (self.repeats, "repeats"))
        return ", ".join(f"{count} {name}" for count, name in counts if count > 1)


def summarise_rows(rows: Sequence[Row]) -> MeasuredValue:
    """Summarise `rows`, the seeds and repeats of one number."""
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
    """Sentences about a number: why it is missing, and whether it was measured on simulated images."""
    found = [f"Measured: {note}{'' if note.endswith('.') else '.'}" for note in summarise_rows(rows).notes]
    if any(map(is_simulated, rows)):
        found.append(
            "Measured on simulated images. The number and its difference from a published one say nothing about "
            "patients."
        )
    if len({row["data_version"] for row in rows if row["value"] is not None}) > 1:
        found.append("Measured: the seeds and repeats saw different versions of the data.")
    return found


def describe_classes(rows: Sequence[Row]) -> list[str]:
    """Sentences about the classes behind a mean, whose own numbers are `rows`."""
    unscored = dict.fromkeys(row["class"] for row in rows if row["value"] is None)
    few = dict.fromkeys(row["class"] for row in rows if row["value"] is not None and _count_positives(row) < FEWEST)
    found = (
        [f"Measured without {', '.join(unscored)}: classes that cannot be scored are in no mean."] if unscored else []
    )
    return found + (
        [f"Measured on fewer than {FEWEST} images that have {', '.join(few)}: too few for a claim."] if few else []
    )


def _count_positives(row: Row) -> int:
    """The number of images that have the class, or of all images where that is not known."""
    positives = row.get("positives")
    return int(row["n"] if positives is None else positives)


def is_simulated(row: Row) -> bool:
    """Whether the images are simulated."""
    return bool(row["simulated"]) or row["cohort"] == PHANTOM
