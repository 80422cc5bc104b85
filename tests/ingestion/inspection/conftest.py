"""Exports as hospitals write them: a table in some language with its images, and trees of DICOM files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingestion.inspection.guess import Guess
from ingestion.inspection.look import Inspection, inspect

TEXTS = {
    "en": ("The lungs are clear. No pleural effusion or pneumothorax.", "Right lower lobe consolidation is seen."),
    "de": ("Keine Stauung, kein Erguss, kein Infiltrat.", "Erguss rechts basal, das Herz ist vergrößert."),
    "es": ("No se observa derrame pleural ni neumotórax.", "Consolidación en el lóbulo inferior derecho."),
    "fr": ("Pas d'épanchement pleural ni de pneumothorax.", "Foyer de condensation du lobe inférieur droit."),
}


def image_at(path: Path) -> str:
    """A small picture in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), 90, np.uint8)).save(path)
    return path.name


def table_at(
    path: Path, columns: Mapping[str, Sequence[object]], separator: str = ",", encoding: str = "utf-8"
) -> Path:
    """A table of columns in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def images_in(folder: Path, count: int, ending: str = ".png") -> list[str]:
    """Pictures, by their paths from the folder above."""
    return [f"{folder.name}/{image_at(folder / f'a{number}{ending}')}" for number in range(count)]


def reports(language: str, count: int) -> list[str]:
    """Different reports in a language."""
    return [f"{TEXTS[language][number % 2]} {number} cm." for number in range(count)]


def look(path: Path) -> Inspection:
    """What is found at a path."""
    return inspect(path, lambda line: None)


def guess_of(path: Path) -> Guess:
    """The description that is guessed of an export."""
    found = look(path)
    assert found.archives == []
    assert found.export is not None
    return found.export.guess


@pytest.fixture
def german(tmp_path: Path) -> Path:
    """Semicolons, Latin-1, German names and dates, a report in two sections, findings by abbreviations."""
    count = 12
    table_at(
        tmp_path / "Studien.csv",
        {
            "Bild": images_in(tmp_path / "bilder", count),
            "PatNr": [f"{7000 + number // 2}" for number in range(count)],
            "Untersuchungsnummer": [f"U{number}" for number in range(count)],
            "Untersuchungsdatum": [f"{number + 1:02}.03.2021" for number in range(count)],
            "Geburtsdatum": ["01.01.1950"] * count,
            "Geschlecht": ["w", "m"] * (count // 2),
            "Alter": [str(40 + number) for number in range(count)],
            "Projektion": ["p.a.", "seitlich"] * (count // 2),
            "Befund": reports("de", count),
            "Beurteilung": [f"Thorax unauffällig, Kontrolle in {number} Monaten." for number in range(count)],
            "PTX": ["0", "1", ""] * (count // 3),
            "Erguss": ["1", "0", "-1"] * (count // 3),
        },
        ";",
        "latin-1",
    )
    return tmp_path
