"""Mistakes of published protocols, what is done here instead, and the test that checks it."""

from __future__ import annotations

import csv
from dataclasses import dataclass

from evaluation.tables.published import DATA


@dataclass(frozen=True)
class Trap:
    """`test` is `path::name` in this repository, or empty where no test is possible."""

    trap: str
    instead: str
    test: str


def read_traps() -> list[Trap]:
    """All traps, in the order of the file."""
    with (DATA / "traps.csv").open(newline="", encoding="utf-8") as file:
        return [Trap(**row) for row in csv.DictReader(file)]
