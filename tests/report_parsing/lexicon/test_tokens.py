"""Tokens keep their characters, and "not" is always a word of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.lexicon.tokens import lower, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Left-sided effusion.", ["left", "-", "sided", "effusion", "."]),
        ("It cannot be excluded", ["it", "can", "not", "be", "excluded"]),
        ("It isn't seen; we can\u2019t say", ["it", "is", "not", "seen", ";", "we", "can", "not", "say"]),
        ("2.5 cm T8-T9 and/or 4th", ["2.5", "cm", "t", "8", "-", "t", "9", "and", "/", "or", "4", "th"]),
        ("___ and XXXX", ["___", "and", "xxxx"]),
    ],
)
def test_words(text, words):
    assert tokenize(text)[0] == words


@given(st.text(max_size=80))
def test_spans_hold_the_words_in_order(text):
    words, spans = tokenize(text)
    end = 0
    for word, (start, stop) in zip(words, spans, strict=True):
        assert end <= start < stop <= len(text)
        assert word == lower(text[start:stop]) or word == "not" or text[start:stop].lower() in ("ca", "wo", "sha")
        end = stop
    covered = {index for span in spans for index in range(*span)}
    assert not any(character.isalnum() for index, character in enumerate(text) if index not in covered)


@given(st.text(max_size=40))
def test_lower_case_keeps_the_length(text):
    assert len(lower(text)) == len(text)
