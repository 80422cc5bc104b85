"""Positions of anatomies: the authors' way keeps the order of their exact strings, ours does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.radgraph.anatomies import mended_positions, reference_position
from report_parsing.vocabulary import POSITIONS

WORDS = st.sampled_from(["left", "right", "both", "lower", "upper", "lobe", "lobes", "lungs", "bases", "hila", "x"])


@pytest.mark.parametrize(
    ("anatomy", "reference", "mended"),
    [
        ("unspecified", "unspecified", ("unspecified",)),
        ("carina", "other", ("other",)),
        ("lung|left|bases", "left_lower_lung", ("left_lower_lung",)),
        ("lung|bases|left", "other", ("left_lower_lung",)),
        ("perihilar|right|left", "hilar_unspec", ("hilar_unspec",)),
        ("perihilar|left|right", "hilar_unspec", ("hilar_unspec",)),
        ("hilar|left|right", "other", ("left_hilar", "right_hilar")),
        ("lobe|left|right|upper", "upper_left_lobe", ("upper_left_lobe", "upper_right_lobe")),
        ("lobe|left|right|lower", "lower_left_lobe", ("lung_bases",)),  # the rule list's name for both lower lobes
        ("lobe|upper|bilateral", "other", ("upper_left_lobe", "upper_right_lobe")),
        ("hila|left", "other", ("left_hilar",)),
        ("apices|both", "lung_apices", ("lung_apices",)),
        ("apices|left", "other", ("left_apical_lung",)),
        ("lung volumes", "other", ("lung_volumes",)),
        ("Left", "other", ("left_lung_unspec",)),
        ("left side", "left_lung_unspec", ("left_lung_unspec",)),
        ("cavoatrial junction|right", "cavoatrial_junction", ("cavoatrial_junction",)),
        ("cavoatrial|junction", "other", ("cavoatrial_junction",)),
        ("lung|lung|lower", "other", ("lung_bases",)),
    ],
)
def test_positions(anatomy, reference, mended):
    assert reference_position(anatomy) == reference
    assert mended_positions(anatomy.split("|")) == mended


def test_no_words_are_no_place():
    assert mended_positions([]) == ("unspecified",)


@given(st.lists(WORDS, min_size=1, max_size=5), st.randoms())
def test_ours_does_not_depend_on_order_case_or_entities(words, random):
    expected = mended_positions(words)
    assert set(expected) <= set(POSITIONS)
    shuffled = random.sample(words, len(words))
    assert mended_positions([word.upper() for word in shuffled]) == expected
    assert mended_positions([" ".join(shuffled)]) == expected
