"""Which words of a sentence tell where a finding is."""

import pytest

from report_parsing.anatomy.locations import find_location
from report_parsing.lexicon.words import Lexicon
from report_parsing.statements.clauses import split_clauses


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


def locations(lexicon, sentence):
    """The words of the location of each mention; None for one that only describes a finding."""
    reading = lexicon.read(sentence)
    reading.clauses = split_clauses(reading)
    found = []
    for mention in reading.observations:
        location = find_location(reading, mention, None)
        found.append(None if location is None else sorted(" ".join(sorted(words)) for words in location.words))
    return found


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("small left effusion", ["left pleural"]),
        ("left and right effusions", ["left pleural", "pleural right"]),
        ("effusion on the left", ["left pleural"]),
        ("effusion in the left lower lobe", ["left pleural"]),
        ("pneumothorax at the left apex", ["apical left"]),
        ("opacity in the left lower and right upper lobes", ["left lobe lower", "lobe right upper"]),
        ("the left lung base shows an opacity", ["base left lung"]),
        ("opacities bilaterally, predominantly in the bases", ["base bilateral lung"]),
        ("chest tube", ["pleural"]),
        ("nodule", []),
    ],
)
def test_location_of_one_finding(lexicon, sentence, expected):
    assert locations(lexicon, sentence) == [expected]


def test_a_state_belongs_to_its_structure(lexicon):
    assert locations(lexicon, "enlarged heart with clear lungs") == [["heart"], ["lung"]]
    assert locations(lexicon, "the aorta is calcified and tortuous") == [["aorta"], ["aorta"]]


def test_a_state_of_a_finding_has_no_location(lexicon):
    assert locations(lexicon, "stable left effusion") == [None, ["left pleural"]]
    assert locations(lexicon, "left effusion is unchanged") == [["left pleural"], None]


def test_an_elevated_nothing_has_no_location(lexicon):
    assert locations(lexicon, "C-reactive protein was elevated") == [None]


def test_the_location_of_the_neighbour_is_not_taken(lexicon):
    assert locations(lexicon, "opacity in the right lung and left effusion") == [["lung right"], ["left pleural"]]
