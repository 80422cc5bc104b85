"""Where a clause ends and where a comma or an "and" only goes on with a list."""

import pytest

from report_parsing.lexicon.words import Lexicon
from report_parsing.statements.clauses import split_clauses


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


@pytest.mark.parametrize(
    ("sentence", "clauses"),
    [
        ("no pneumothorax, effusion or consolidation", 1),
        ("heart size and mediastinal contours are normal", 1),
        ("right upper and left lower lobe opacities", 1),
        ("in the left base, there is an opacity", 1),
        ("effusion and edema have resolved", 1),
        ("no pneumothorax and lungs are clear", 2),
        ("lungs clear, heart normal, no effusion", 3),
        ("effusion is stable, and pneumothorax has resolved", 2),
        ("no effusion but edema", 2),
        ("effusion; edema", 2),
        ("no effusion or edema, small nodule", 2),
        ("", 0),
    ],
)
def test_number_of_clauses(lexicon, sentence, clauses):
    assert len(set(split_clauses(lexicon.read(sentence)))) == clauses


def test_clauses_cover_every_token_in_order(lexicon):
    reading = lexicon.read("lungs clear, heart normal; no effusion, but edema.")
    numbers = split_clauses(reading)
    assert len(numbers) == len(reading.words)
