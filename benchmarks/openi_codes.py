"""What the human MeSH codes of an Open-i report state, as CheXpert labels with their locations.

The rules and how they may be used come with the collection's mapping tables (`mesh_to_labels.csv`,
`mesh_location_to_medklip.csv`): a rule of high confidence makes a label true; a label that only a weaker or an
uncertain rule touches is not scored; a report without indexing is not scored; coders skip what is hedged, so an uncoded
label is false only where no sentence hedges it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from report_parsing.sections.sentences import split_sentences
from report_parsing.vocabulary import CHEXPERT_14, NO_FINDING, SUPPORT_DEVICES

NOT_INDEXED, NORMAL = "no indexing", "normal"
_SIDES = ("left", "right", "bilateral")
_ZONES = {  # word of a position -> zone
    **{"lower": "lower", "bases": "lower", "mid": "mid", "middle": "mid", "upper": "upper", "apical": "upper"},
    **{"apices": "upper", "hilar": "hilar", "retrocardiac": "lower", "costophrenic": "lower"},
}

# A mention of each finding, however it is asserted, found without the parser that is being measured.
_MENTIONS = {
    "Enlarged Cardiomediastinum": r"mediastin",
    "Cardiomegaly": r"cardiomegal|heart|cardiac|cardiomediast",
    "Lung Opacity": r"opaci|infiltrat|air.?space|marking|scar|reticul|interstiti|densit",
    "Lung Lesion": r"nodul|mass|lesion|tumou?r|malignan|neoplas",
    "Edema": r"edema|congesti|failure|chf|overload",
    "Consolidation": r"consolidat|pneumoni|infect|air.?space",
    "Pneumonia": r"pneumoni|infect",
    "Atelectasis": r"atelecta|collapse|volume loss",
    "Pneumothorax": r"pneumothora",
    "Pleural Effusion": r"effusion|pleural fluid|fluid|blunt",
    "Pleural Other": r"pleura|scar|fibro",
    "Fracture": r"fractur|deformit",
    "Support Devices": r"catheter|tube|line|lead|pacemaker|device|picc|port",
}
_HEDGE = re.compile(
    r"\b(?:may|might|could|possib\w*|probab\w*|likely|suggest\w*|suspicious|suspicion|suspect\w*|question\w*|equivocal|"
    r"exclude\w*|rule out|versus|vs|consider\w*|concern\w*|correlat\w*|differential|consistent|compatible|represent\w*|"
    r"reflect\w*|appear\w*|potential\w*|perhaps|presum\w*|borderline|if)\b",
    re.IGNORECASE,
)


class Location(NamedTuple):
    """A side and a zone of the lung; None where nothing is said of it."""

    side: str | None
    zone: str | None

    def covers(self, other: Location) -> bool:
        """Whether `other` agrees with everything that this location states."""
        return self.side in (None, other.side) and self.zone in (None, other.zone)


@dataclass(frozen=True)
class Coded:
    """What the codes of a report state: labels that are scored, and the locations of the true ones."""

    labels: Mapping[str, bool]
    locations: Mapping[str, frozenset[Location]] = field(default_factory=dict)


class MeshRule(NamedTuple):
    """A line of `mesh_to_labels.csv`."""

    heading: str
    required: frozenset[str]
    excluded: frozenset[str]
    label: str
    uncertain: bool
    confidence: str

    def fires(self, heading: str, qualifiers: frozenset[str]) -> bool:
        """Whether the rule speaks of a term."""
        return (
            heading == self.heading
            and (not self.required or bool(self.required & qualifiers))
            and not self.excluded & qualifiers
        )


class MeshCodes:
    """The mapping tables of a folder.

    Raises:
        FileNotFoundError: the folder lacks one of them.
    """

    def __init__(self, folder: Path) -> None:
        self.rules = [
            MeshRule(
                _normalised(row["mesh_heading"]),
                _cell(row["required_qualifier_any"]),
                _cell(row["excluded_qualifier_any"]),
                row["chexpert_label"],
                row["chexpert_value"] == "-1",
                row["chexpert_confidence"],
            )
            for row in read_csv(folder / "mesh_to_labels.csv")
        ]
        self.landmarks = {
            (_normalised(row["mesh_location"]), row["laterality"]): (row["medklip_landmark"], "union" in row["note"])
            for row in read_csv(folder / "mesh_location_to_medklip.csv")
        }
        self.locations = {location for location, _ in self.landmarks}

    def read(self, mesh: str, text: str) -> Coded | None:
        """The scored labels of a report with these codes and this text; None for a report that was not indexed."""
        terms = list(_terms(mesh))
        if not terms or any(heading == NOT_INDEXED for heading, _ in terms):
            return None
        true: dict[str, set[Location]] = {}
        touched: set[str] = set()
        for heading, qualifiers in terms:
            for rule in self.rules:
                if rule.label and rule.fires(heading, frozenset(qualifiers)):
                    touched.add(rule.label)
                    if rule.confidence == "high" and not rule.uncertain:
                        true.setdefault(rule.label, set()).update(self._locations(qualifiers))
        unscored = touched | hedged(text)
        if terms == [(NORMAL, [])]:
            unscored = {SUPPORT_DEVICES}
        labels = {
            label: label in true
            for label in CHEXPERT_14
            if label in true or (label not in unscored and label != NO_FINDING)
        }
        return Coded(labels, {label: frozenset(locations) for label, locations in true.items() if locations})

    def _locations(self, qualifiers: list[str]) -> set[Location]:
        """The locations of a term: its last, most specific location on each of its sides, or its side alone."""
        named = [qualifier for qualifier in qualifiers if qualifier in self.locations]
        side = next((qualifier for qualifier in qualifiers if qualifier in _SIDES), "")
        if not named:
            return {Location(one, None) for one in _both(side) if one}
        landmark, union = self.landmarks.get((named[-1], side)) or self.landmarks.get((named[-1], "")) or ("", False)
        locations = {location for name in landmark.split("|") for location in locations_of(name)}
        if union:
            locations = {Location(one, location.zone) for location in locations for one in _both("bilateral")}
        return {location for location in locations if location.side or location.zone}


def hedged(text: str) -> set[str]:
    """Labels that a sentence mentions together with a word of doubt."""
    sentences = [text[start:end] for start, end in split_sentences(text, 0, len(text))]
    doubtful = [sentence for sentence in sentences if _HEDGE.search(sentence)]
    return {
        label for label, words in _MENTIONS.items() if any(re.search(words, item, re.IGNORECASE) for item in doubtful)
    }


def locations_of(position: str) -> frozenset[Location]:
    """Side and zone of one of the 51 positions; both sides of one that stands for both."""
    words = position.split("_")
    zone = next((_ZONES[word] for word in words if word in _ZONES), None)
    if position in ("lung_bases", "lung_apices"):
        return frozenset(Location(side, zone) for side in ("left", "right"))
    side = next((word for word in words if word in ("left", "right")), None)
    side = "left" if position == "retrocardiac" else side
    return frozenset({Location(side, zone)})


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _terms(mesh: str) -> Iterator[tuple[str, list[str]]]:
    for term in mesh.split(";"):
        heading, *qualifiers = (_normalised(part) for part in term.split("/"))
        if heading:
            yield heading, qualifiers


def _both(side: str) -> tuple[str, ...]:
    return ("left", "right") if side == "bilateral" else (side,)


def _normalised(text: str) -> str:
    return " ".join(text.lower().split())


def _cell(cell: str) -> frozenset[str]:
    return frozenset(_normalised(part) for part in cell.split("|") if part.strip())
