"""Sentences as spans: lists, decimals, abbreviations, line breaks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.sentences import split_sentences


def sentences(text):
    return [text[start:end] for start, end in split_sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear lungs. No effusion.", ["Clear lungs.", "No effusion."]),
        ("A 2.5 cm nodule. It is new.", ["A 2.5 cm nodule.", "It is new."]),
        ("1. Effusion.\n 2. No edema.", ["Effusion.", "No edema."]),
        ("1. Effusion. 2. No edema.", ["Effusion.", "No edema."]),
        ("1) Effusion\n2) No edema", ["Effusion", "No edema"]),
        ("- Effusion\n- No edema", ["Effusion", "No edema"]),
        ("Atelectasis vs. pneumonia at the base.", ["Atelectasis vs. pneumonia at the base."]),
        ("Seen by Dr. Smith at 5 p.m. today. Clear.", ["Seen by Dr. Smith at 5 p.m. today.", "Clear."]),
        ("Tube at approx. 4 cm. No edema.", ["Tube at approx. 4 cm.", "No edema."]),
        ("Small\n effusion on\n the left.", ["Small\n effusion on\n the left."]),
        ("Heart is normal\n\nLungs are clear", ["Heart is normal", "Lungs are clear"]),
        ("No effusion.The heart is large.", ["No effusion.", "The heart is large."]),
        ("Clear.. Normal heart!", ["Clear..", "Normal heart!"]),
        ("Rib no. 3 is broken.", ["Rib no. 3 is broken."]),
        ("Is there edema? Yes.", ["Is there edema?", "Yes."]),
        ("The tube is at T 4. Clear.", ["The tube is at T 4.", "Clear."]),
        ("___ . ...", []),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["1.", "2)", "a", "No", ".", "\n", "2.5", "vs.", "- ", "\n\n"])).map(" ".join),
    )
)
def test_spans_are_ordered_and_lose_no_word(text):
    spans = split_sentences(text, 0, len(text))
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))
    kept = "".join(text[start:end] for start, end in spans)
    assert sum(character.isalpha() for character in kept) == sum(character.isalpha() for character in text)


def test_only_the_given_span_is_read():
    text = "One. Two. Three."
    assert [text[start:end] for start, end in split_sentences(text, 5, 9)] == ["Two."]
