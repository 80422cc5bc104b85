"""An export as a hospital's system may write it: German, with decimal commas, and described by archive.yaml.

Studies have one row, which names both images. The word of a split, the sex and a label are those of the system.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from cohorts.phantom.files import write_image
from cohorts.phantom.simulated import SimulatedStudy, chexpert_labels, regions, to_grey
from store.atomic import replacing

LABELS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Pneumothorax")
BOXES = {"effusion": "Pleural Effusion", "pneumothorax": "Pneumothorax", "nodule": "Lung Lesion"}
WORDS = {"train": "Training", "validate": "Prüfung", "test": "Test"}
FIRST_DAY = date(2019, 1, 7)
DESCRIPTION = f"""manifest: Aufnahmen.csv
columns: {{image: [Aufnahme, Zweite Aufnahme], patient: PatNr, study: Untersuchung, date: Datum, view: Projektion,
  sex: Geschlecht, age: Alter, device: Gerät, site: Station, split: Teil}}
report: {{text: Befund}}
labels: {{{", ".join(f"{name}: {name}" for name in LABELS)}}}
boxes: {{table: Markierungen.csv, image: Aufnahme, label: Befund, x: x, y: y, width: Breite, height: Höhe}}
values: {{Teil: {{Prüfung: validate}}}}
"""


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Aufnahmen.csv, Markierungen.csv, Bilder/ and archive.yaml in `root`."""
    rows, boxes = [], []
    for study in studies:
        frontal, lateral = f"Bilder/{study.index // 100:02d}/{study.index:05d}.png", ""
        write_image(root / frontal, study.grey)
        if study.lateral is not None:
            lateral = frontal.replace(".png", "_s.png")
            write_image(root / lateral, to_grey(study.lateral))
        rows.append(_row(study, frontal, lateral))
        boxes += [
            [frontal.replace("/", "\\"), label, *(f"{number:.1f}".replace(".", ",") for number in box)]
            for name, label in BOXES.items()
            if name in study.masks
            for box in regions(study.masks[name])
        ]
    header = ("Aufnahme", "Zweite Aufnahme", "PatNr", "Untersuchung", "Datum", "Projektion", "Geschlecht", "Alter")
    _write_table(root / "Aufnahmen.csv", (*header, "Gerät", "Station", "Teil", "Befund", *LABELS), rows)
    _write_table(root / "Markierungen.csv", ("Aufnahme", "Befund", "x", "y", "Breite", "Höhe"), boxes)
    with replacing(root / "archive.yaml") as partial:
        partial.write_text(DESCRIPTION, encoding="utf-8")


def _row(study: SimulatedStudy, frontal: str, lateral: str) -> list[str]:
    labels = chexpert_labels(study.statements)
    view = {"PA": "p.a.", "AP": "a.p."}[study.view]
    day = FIRST_DAY + timedelta(days=study.patient % 500 + 40 * study.visit)
    return [
        frontal.replace("/", "\\"),
        lateral.replace("/", "\\"),
        f"P-{study.patient}",
        f"U-{study.patient}-{study.visit}",
        f"{day:%d.%m.%Y}",
        f"{view};seitlich" if lateral else view,
        {"M": "männlich", "F": "weiblich"}[study.sex],
        f"{study.age},5",
        f"Gerät {1 + study.patient % 3}",
        ("Ambulanz", "Intensivstation")[study.view == "AP"],
        WORDS[study.split],
        study.report,
        *("" if labels[name] is None else f"{labels[name]},0" for name in LABELS),
    ]


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([header, *rows])
    with replacing(path) as partial:
        partial.write_bytes(text.getvalue().encode("utf-8-sig"))
