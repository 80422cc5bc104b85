"""Sentences of a kind, from templates that vary in findings, places and phrasing: the share that is read right."""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from report_parsing.chexpert import label_report
from report_parsing.statements.triplets import TripletParser

TEMPLATES = Path(__file__).with_name("sentence_kinds.csv")
VARIANTS = 4  # sentences of a template
FLOORS = {"template": 1.0, "convention": 1.0, "doubt": 1.0, "scope": 1.0, "place": 1.0, "unsaid": 1.0}


class Filler(NamedTuple):
    """What a slot of a template is filled with."""

    text: str
    entity: str = ""
    place: str = ""  # position without a side
    home: str = ""  # what follows the side in the name of its position
    position: str = ""  # of a place

    def __str__(self) -> str:
        return self.text


LUNG = [
    Filler(word, word.split()[-1], "unspecified", "lung_unspec")
    for word in ("consolidation", "atelectasis", "pneumonia", "infiltrate", "opacity")
]
PLEURA = [
    Filler("pleural effusion", "effusion", "pleural_unspec", "pleural"),
    Filler("pneumothorax", "pneumothorax", "unspecified", "pleural"),
]
PLACES = [
    Filler("left lower lobe", position="lower_left_lobe"),
    Filler("RUL", position="upper_right_lobe"),
    Filler("right middle lobe", position="middle_right_lobe"),
    Filler("left lung base", position="left_lower_lung"),
    Filler("right mid zone", position="right_mid_lung"),
    Filler("right upper lung", position="right_upper_lung"),
]
DEVICES = [Filler("endotracheal tube", "tube"), Filler("PICC", "picc"), Filler("pacemaker", "pacemaker")]
SIDES = [Filler("left"), Filler("right")]
GROUPS = (("FGH", LUNG + PLEURA), ("LM", LUNG), ("PQ", PLACES), ("DE", DEVICES), ("SO", SIDES))


class Case(NamedTuple):
    """A sentence with its right value."""

    kind: str
    sentence: str
    expected: tuple[str, ...]


def sentences() -> Iterator[Case]:
    """Every template, filled; the same ones every time."""
    lines = [line for line in TEMPLATES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for row in csv.DictReader(lines):
        for variant in range(VARIANTS):
            fillers = fill(random.Random(f"{row['template']}{variant}"))
            sentence = row["template"].format(**fillers)
            yield Case(row["kind"], vary(sentence, variant), tuple(row["expected"].format(**fillers).split()))


def fill(chance: random.Random) -> dict[str, Filler]:
    """Fillers by slot: different ones in the slots of a group, and F is none of the findings of the lung slots."""
    fillers: dict[str, Filler] = {}
    for slots, choices in GROUPS:
        left = [choice for choice in choices if slots != "LM" or choice != fillers["F"]]
        fillers.update(zip(slots, chance.sample(left, len(slots)), strict=True))
    return fillers


def vary(sentence: str, variant: int) -> str:
    """The sentence as a hurried writer has it: capitals at the front, everywhere or nowhere, no full stop."""
    changed = (sentence[0].upper() + sentence[1:], sentence.upper(), sentence.lower().rstrip("."), sentence)
    return changed[variant]


def is_right(parser: TripletParser, case: Case) -> bool:
    """Whether the parser gives what is expected of the sentence."""
    triplets = parser.parse_sentence(case.sentence)
    labels = label_report(triplets)
    clear = {found.position for found in triplets if found.entity == "clear" and found.exists == "present"}
    triplets = [found for found in triplets if not (found.exists == "absent" and found.position in clear)]  # implied
    wanted: dict[str, set[str]] = {}
    for item in case.expected:
        if item.startswith("#"):
            label, value = item[1:].replace("_", " ").split("=")
            if labels[label] != (None if value == "none" else float(value)):
                return False
        else:
            wanted.setdefault(re.split("[@=]", item.lstrip("!"))[0], set()).add(item)
    return all(
        {item for item in items if not item.startswith("!")}
        == {
            f"{found.entity}@{found.position}={found.exists}"
            if "@" in next(iter(items))
            else f"{entity}={found.exists}"
            for found in triplets
            if found.entity == entity
        }
        for entity, items in wanted.items()
    )


@pytest.mark.parametrize("kind", FLOORS)
def test_share_of_right_sentences(kind):
    parser = TripletParser()
    cases = [case for case in sentences() if case.kind == kind]
    wrong = [case.sentence for case in cases if not is_right(parser, case)]
    assert len(cases) >= 100
    assert 1 - len(wrong) / len(cases) >= FLOORS[kind], wrong


if __name__ == "__main__":
    shared = TripletParser()
    found = list(sentences())
    for kind in FLOORS:
        right = [is_right(shared, case) for case in found if case.kind == kind]
        print(f"{kind:12}{sum(right):4} of {len(right)} right ({sum(right) / len(right):.3f})")
