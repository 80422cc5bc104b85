"""One slip is put right, other words are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.language.slips import count_slips
from report_parsing.lexicon.spelling import SHORTEST, Spelling
from report_parsing.lexicon.words import Lexicon
from report_parsing.resources import read_rows

WORDS = ("atelectasis", "effusion", "effusions", "pneumothorax", "consolidation", "cardiomegaly")
SPELLING = Spelling(WORDS, others=("infusion",))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("atelectsis", "atelectasis"),
        ("pneumothroax", "pneumothorax"),
        ("consolidattion", "consolidation"),
        ("cardiomegoly", "cardiomegaly"),
        ("effusion", "effusion"),
        ("infusion", "infusion"),
        ("atelctss", "atelctss"),  # three slips
        ("effusios", "effusios"),  # one slip from two words
        ("edema", "edema"),
    ],
)
def test_correction(written, meant):
    assert SPELLING.correct(written) == meant


@given(st.sampled_from(WORDS), st.data())
def test_every_single_slip_is_one(word, data):
    index = data.draw(st.integers(1, len(word) - 2))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    slips = [
        word[:index] + word[index + 1 :],
        word[:index] + letter + word[index:],
        word[:index] + letter + word[index + 1 :],
        word[:index] + word[index + 1] + word[index] + word[index + 2 :],
    ]
    assert all(count_slips(slip, word) <= 1 and count_slips(word, slip) <= 1 for slip in slips)


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_a_slip_is_one_edit_of_damerau(first, second):
    assert (count_slips(first, second) <= 1) == (damerau(first, second) <= 1)


def test_words_that_mean_something_else_are_known():
    lexicon = Lexicon()
    for row in read_rows("not_misspelt.csv"):
        assert lexicon.read(row["word"]).words == [row["word"]]
        assert len(row["word"]) >= SHORTEST


def damerau(first, second):
    """Optimal string alignment distance."""
    rows = [[i + j if 0 in (i, j) else 0 for j in range(len(second) + 1)] for i in range(len(first) + 1)]
    for i in range(1, len(first) + 1):
        for j in range(1, len(second) + 1):
            change = first[i - 1] != second[j - 1]
            rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change)
            if i > 1 and j > 1 and first[i - 2 : i] == second[j - 2 : j][::-1]:
                rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
    return rows[-1][-1]
