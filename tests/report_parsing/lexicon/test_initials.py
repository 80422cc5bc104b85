"""Letters that stand for words, by hand and against another implementation of the same paper."""

import importlib.util

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.lexicon.initials import find_long_form

LETTERS = "aAbBcCdD3-.é"
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=6), max_size=6)
SHORT = st.text(LETTERS, min_size=1, max_size=5).filter(lambda short: any(letter.isalnum() for letter in short))


@pytest.mark.parametrize(
    ("short", "words", "first"),
    [
        ("COPD", "severe chronic obstructive pulmonary disease", 1),
        ("PTX", "small pneumothorax", 1),
        ("GGO", "diffuse ground-glass opacity", 1),
        ("G-O", "ground glass opacity", 1),  # the shortest long form
        ("LL", "ll", 0),
        ("LL", "l", None),
        ("TB", "stable", None),  # the first letter begins a word
        ("AB", "x-a b", 0),  # or a part of one
        ("ETT", "", None),
    ],
)
def test_the_words_that_letters_stand_for(short, words, first):
    assert find_long_form(short, words.split()) == first


@pytest.mark.skipif(importlib.util.find_spec("scispacy") is None, reason="scispacy is not installed")
def test_scispacy_finds_the_same():
    from scispacy.abbreviation import find_abbreviation
    from spacy.tokens import Doc
    from spacy.vocab import Vocab

    vocab = Vocab()

    @settings(max_examples=1000, deadline=None)
    @given(SHORT, WORDS)
    def compare(short, words):
        doc = Doc(vocab, words=[*words, short])
        _, long = find_abbreviation(doc[: len(words)], doc[len(words) :])
        assert find_long_form(short, words) == (long.start if long is not None else None)

    compare()
