"""Tokens keep their characters, and "not" is always a word of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.language.readable import readable
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
    read = readable(text)
    place = 0
    for word, (start, stop) in zip(words, spans, strict=True):
        written = readable(text[start:stop]).text
        assert place <= start < stop <= len(text)
        assert word in lower(written).replace("–", "-") + "–" or word == "not" or written.lower() in ("ca", "wo", "sha")
        place = start
    covered = {index for span in spans for index in range(*span)}
    words_read = [read.span(index, index + 1)[0] for index, character in enumerate(read.text) if character.isalnum()]
    assert covered.issuperset(words_read)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pneu\u00admo\u200bthorax", ["pneumothorax"]),
        ("\ufeffeﬀusion", ["effusion"]),
        ("ＮＯ\u3000ｅｄｅｍａ", ["no", "edema"]),
        ("right\u2011sided", ["right", "-", "sided"]),
        ("pneumo\ud83dthorax", ["pneumothorax"]),
        ("<b>no</b> edema<br/>", ["no", "edema"]),
        ("①mass", ["(", "1", ")", "mass"]),
    ],
)
def test_words_are_read_without_what_is_not_seen(text, words):
    found, spans = tokenize(text)
    assert found == words
    assert text[spans[-1][0] : spans[-1][1]].strip("\ufeff") in text


@given(st.text(max_size=40))
def test_lower_case_keeps_the_length(text):
    assert len(lower(text)) == len(text)
