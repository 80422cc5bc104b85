"""The rule list of the 51 positions, against the released code's own answers, and how locations are put together."""

import csv
import os
from pathlib import Path

import pytest

from report_parsing.anatomy.positions import join_conjuncts, match_position, merge, positions_of
from report_parsing.resources import read_rows
from report_parsing.vocabulary import POSITIONS

SHARED = Path(os.environ.get("RADALIGN_SHARED", Path(__file__).parents[4] / "shared"))
GOLDEN = Path(os.environ.get("RADALIGN_GOLDEN", SHARED / "golden")) / "public" / "radgraph_anatomy_to_landmark.csv"


def words(text):
    return frozenset(text.split())


def test_rules_are_the_positions_in_order():
    assert [row["position"] for row in read_rows("positions.csv")] == list(POSITIONS[:-1])  # `other` is what is left


def test_rules_agree_with_the_released_code():
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN.name} is not there; set RADALIGN_GOLDEN to the golden vectors")
    rows = list(csv.DictReader(GOLDEN.open()))
    wrong = {
        row["anatomy"] for row in rows if match_position(frozenset(row["anatomy"].split("|"))) != row["landmark_name"]
    }
    assert len(rows) > 900
    assert not {anatomy for anatomy in wrong if "lung" not in anatomy.split("|")}
    assert not wrong


@pytest.mark.parametrize(
    ("location", "positions"),
    [
        ("", ("unspecified",)),
        ("left pleural", ("left_pleural",)),
        ("bilateral pleural", ("left_pleural", "right_pleural")),
        ("bilateral lung base", ("lung_bases",)),
        ("bilateral lobe lower", ("lung_bases",)),
        ("bilateral apical", ("lung_apices",)),
        ("bilateral lobe upper", ("upper_left_lobe", "upper_right_lobe")),
        ("lung base right", ("right_lower_lung",)),
        ("lung", ("lung_volumes",)),
        ("lung upper", ("lung_apices",)),
        ("left", ("left_lung_unspec",)),
        ("heart", ("heart_size",)),
        ("heart border right", ("heart_border",)),
        ("interstitial lung left", ("left_lung_unspec",)),
        ("pulmonary right upper lobe", ("upper_right_lobe",)),
        ("elsewhere", ("other",)),
    ],
)
def test_positions_of_composed_locations(location, positions):
    assert positions_of(words(location)) == positions


@pytest.mark.parametrize(
    ("conjuncts", "joined"),
    [
        (["right upper", "lower lobe"], ["right upper lobe", "right lower lobe"]),
        (["left", "right pleural"], ["left pleural", "right pleural"]),
        (["right upper", "left lower lobe"], ["right upper lobe", "left lower lobe"]),
        (["heart", "mediastinal"], ["heart", "mediastinal"]),
        (["", "left"], ["left"]),
    ],
)
def test_conjuncts_complete_each_other(conjuncts, joined):
    assert join_conjuncts(tuple(words(item) for item in conjuncts)) == tuple(words(item) for item in joined)


def test_merge_keeps_what_agrees():
    assert merge([words("left")], [words("lung base")]) == (words("left lung base"),)
    assert merge([words("left pleural")], [words("right lobe")]) == (words("left pleural"),)
    assert merge([words("left")], [words("atrium right")]) == (words("atrium right"),)
