"""Sides swap in words and positions, twice gives the original, and what has no mirror image is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text.laterality import mirror_positions, mirror_text
from report_parsing.vocabulary import POSITIONS

WORDS = [
    *(
        "left",
        "Right",
        "LEFT",
        "right-sided",
        "leftward",
        "lEFT",
        "LLL",
        "rul",
        "RML",
        "LIJ",
        "L",
        "R",
        "Lt",
        "rt",
        "l",
    ),
    *("R/O", "2", "and", ">", "/", "lung", "lower", "middle", "lobe", "pleural", "effusion", "lingula", "ventricle"),
    *(
        "dextroscoliosis",
        "levo",
        "convex",
        "levofloxacin",
        "situs",
        "was",
        "in",
        "place",
        "No",
        ".",
        "\n",
        "_",
        "ſ",
        "é",
    ),
]


@given(st.lists(st.sampled_from(WORDS), max_size=10), st.sampled_from([" ", "", "-", "_"]))
def test_mirroring_twice_gives_the_text(words, gap):
    text = gap.join(words)
    mirrored = mirror_text(text)
    if mirrored is not None:
        assert mirror_text(mirrored) == text


@given(st.text())
def test_any_text_is_mirrored_or_refused(text):
    mirrored = mirror_text(text)
    assert mirrored is None or mirror_text(mirrored) == text


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Small left pleural effusion.", "Small right pleural effusion."),
        ("LEFT basilar atelectasis, Right apex clear", "RIGHT basilar atelectasis, Left apex clear"),
        ("Right-sided PICC; rightward shift.", "Left-sided PICC; leftward shift."),
        ("LLL opacity, rul nodule", "RLL opacity, lul nodule"),
        ("Bilateral effusions, R > L.", "Bilateral effusions, L > R."),
        ("R pleural effusion, L. base clear", "L pleural effusion, R. base clear"),
        ("Mild dextroscoliosis on levofloxacin", "Mild levoscoliosis on levofloxacin"),
        ("R/O pneumonia in the left base", "R/O pneumonia in the right base"),
        ("Opacity at the left heart border", "Opacity at the right heart border"),
        ("Heart size is normal. No effusion.", "Heart size is normal. No effusion."),
    ],
)
def test_sides_are_swapped(text, mirrored):
    assert mirror_text(text) == mirrored


@pytest.mark.parametrize(
    "text",
    [
        "Right middle lobe opacity",
        "right upper and\nmiddle lobes",
        "RML collapse",
        "lingular scarring",
        "thickened minor fissure",
        "situs inversus",
        "Dextrocardia",
        "left ventricular enlargement",
        "tip in the right atrium",
        "LV failure",
        "chest tube left in place",
        "The drain was left",
        "on 2 L of oxygen",
        "seen by R. Smith",
        "lEFT effusion",
    ],
)
def test_what_has_no_mirror_image_is_refused(text):
    assert mirror_text(text) is None


def test_positions_change_sides():
    mirror = dict(zip(POSITIONS, mirror_positions(POSITIONS), strict=True))
    assert POSITIONS[mirror["left_hilar"]] == "right_hilar"
    assert POSITIONS[mirror["lower_left_lobe"]] == "lower_right_lobe"
    assert POSITIONS[mirror["right_apical_lung"]] == "left_apical_lung"
    for name in ("trachea", "heart_size", "hilar_unspec", "lung_bases", "unspecified", "other"):
        assert POSITIONS[mirror[name]] == name
    alone = {name for name, index in mirror.items() if index is None}
    assert alone == {"middle_right_lobe", "right_atrium", "right_ventricle"}


def test_positions_are_their_own_mirror_images_twice():
    mirror = mirror_positions(POSITIONS)
    assert all(mirror[other] == place for place, other in enumerate(mirror) if other is not None)
    assert sum(other != place for place, other in enumerate(mirror) if other is not None) == 22
