"""Slips against a slower count, spellings made equal, and which words are near."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from report_parsing.knowledge.similar_words import SimilarWords, same_word, sound_of
from report_parsing.language.slips import count_slips
from report_parsing.resources import read_rows

WORDS = SimilarWords(
    ["pneumothorax", "pneumonia", "effusion", "edema", "emphysema", "empyema", "line", "nodule", "heart"]
)
letters = st.text(alphabet="abcé", max_size=9)


def slips_by_table(first, second):
    """Optimal string alignment as its recurrence is written."""
    cost = {}
    for i in range(len(first) + 1):
        for j in range(len(second) + 1):
            if not i or not j:
                cost[i, j] = i + j
                continue
            changed = cost[i - 1, j - 1] + (first[i - 1] != second[j - 1])
            cost[i, j] = min(cost[i - 1, j] + 1, cost[i, j - 1] + 1, changed)
            if i > 1 and j > 1 and first[i - 2 : i] == second[j - 2 : j][::-1]:
                cost[i, j] = min(cost[i, j], cost[i - 2, j - 2] + 1)
    return cost[len(first), len(second)]


@given(letters, letters)
@example("", "abc")
@example("ca", "abc")  # three: a swapped pair may not be edited again
@settings(max_examples=300, deadline=None)
def test_slips_are_those_of_the_recurrence(first, second):
    assert count_slips(first, second) == slips_by_table(first, second) == count_slips(second, first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("oedema", "edema"), ("haemothorax", "hemothorax"), ("tumours", "tumor"), ("cephalisation", "cephalization")),
        *(("opacities", "opacity"), ("masses", "mass"), ("effusions", "effusion"), ("fluids", "fluid")),
    ],
)
def test_two_spellings_of_one_word_are_equal(one, other):
    assert same_word(one) == same_word(other)


@pytest.mark.parametrize("word", ["atelectasis", "mass", "pus", "gas", "hilus", "abscess"])
def test_what_only_looks_like_a_plural_stays(word):
    assert same_word(word) == word


@pytest.mark.parametrize(
    ("heard", "written"),
    [("numonia", "pneumonia"), ("emfisema", "emphysema"), ("effushun", "effusion"), ("nodual", "nodule")],
)
def test_what_sounds_alike(heard, written):
    assert sound_of(heard) == sound_of(written)


def test_every_rule_of_spelling_changes_its_example():
    for row in read_rows("letters.csv"):
        change = same_word if row["stage"] == "same" else sound_of
        assert change(row["example"]) != row["example"], row


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(
            ("pnuemothorax", "pneumothorax"),
            ("numonia", "pneumonia"),
            ("efusion", "effusion"),
            ("emfysema", "emphysema"),
        ),
        *(
            ("edma", "edema"),
            ("odema", "edema"),
            ("haert", "heart"),
            ("noduel", "nodule"),
            ("mpyema", "empyema"),
            ("lnie", "line"),
            ("liine", "line"),
        ),
    ],
)
def test_the_nearest_word(written, meant):
    nearest = WORDS.nearest(written)[0]
    assert nearest.word == meant
    assert 0.75 <= nearest.similarity < 1


@pytest.mark.parametrize("word", ["module", "lime", "lines", "insomnia", "fusions", "hat", "", "x" * 200])
def test_what_is_near_to_nothing(word):
    assert WORDS.nearest(word) == ()


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_word_has_ordered_neighbours(word):
    similarities = [item.similarity for item in WORDS.nearest(word)]
    assert similarities == sorted(similarities, reverse=True)
    assert all(0 < similarity <= 1 for similarity in similarities)
