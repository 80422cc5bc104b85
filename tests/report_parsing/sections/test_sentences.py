"""Sentences as spans: lists, decimals, abbreviations, line breaks, removed names."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.sections.deidentification import without_marks
from report_parsing.sections.sentences import split_sentences


def sentences(text):
    return [text[start:end] for start, end in split_sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear lungs. No effusion.", ["Clear lungs.", "No effusion."]),
        ("Clear.. Normal heart!", ["Clear..", "Normal heart!"]),
        ("Is there edema? Yes.", ["Is there edema?", "Yes."]),
        ("clear lungs. no effusion", ["clear lungs.", "no effusion"]),
        ("HEART IS LARGE. NO EFFUSION.", ["HEART IS LARGE.", "NO EFFUSION."]),
        # numbers
        ("A 2.5 cm nodule. It is new.", ["A 2.5 cm nodule.", "It is new."]),
        ("A 2. 5 cm nodule. It is new.", ["A 2. 5 cm nodule.", "It is new."]),
        ("Tip 3 cm. The heart is large.", ["Tip 3 cm.", "The heart is large."]),
        ("Tip 3 cm. above the carina. Clear.", ["Tip 3 cm. above the carina.", "Clear."]),
        ("Wedging of T8-T9. No fracture.", ["Wedging of T8-T9.", "No fracture."]),
        ("The tube is at T 4. Clear.", ["The tube is at T 4.", "Clear."]),
        ("Rib no. 3 is broken. There is no. End", ["Rib no. 3 is broken.", "There is no.", "End"]),
        # abbreviations
        ("Atelectasis vs. pneumonia at the base.", ["Atelectasis vs. pneumonia at the base."]),
        ("Infection, e.g. pneumonia. Clear.", ["Infection, e.g. pneumonia.", "Clear."]),
        ("Seen by Dr. Smith at 5 p.m. today. Clear.", ["Seen by Dr. Smith at 5 p.m. today.", "Clear."]),
        ("Seen by Dr. Smith at 5 p.m. The lungs", ["Seen by Dr. Smith at 5 p.m.", "The lungs"]),
        ("Tube at approx. 4 cm. No edema.", ["Tube at approx. 4 cm.", "No edema."]),
        ("An opacity (2 cm.) in the lung. New.", ["An opacity (2 cm.) in the lung.", "New."]),
        ("Clear... but limited. Clear... The heart", ["Clear... but limited.", "Clear...", "The heart"]),
        # a blank is missing
        ("No effusion.The heart is large.", ["No effusion.", "The heart is large."]),
        ("no effusion.the heart is large.", ["no effusion.", "the heart is large."]),
        ("NO EFFUSION.HEART IS LARGE.", ["NO EFFUSION.", "HEART IS LARGE."]),
        ("Left PICC.The heart is large.", ["Left PICC.", "The heart is large."]),
        ("Seen by Dr.Smith.", ["Seen by Dr.Smith."]),
        # lists
        ("1. Effusion.\n 2. No edema.", ["Effusion.", "No edema."]),
        ("1. Effusion. 2. No edema.", ["Effusion.", "No edema."]),
        ("1. Effusion 2. No edema", ["Effusion", "No edema"]),
        ("1.Effusion.2.No edema", ["Effusion.", "No edema"]),
        ("1) Effusion\n2) No edema", ["Effusion", "No edema"]),
        ("(1) Effusion. (2) No edema.", ["Effusion.", "No edema."]),
        ("Seen: 1. effusion, 2. edema", ["Seen:", "effusion,", "edema"]),
        ("Atelectasis at level 4. The heart", ["Atelectasis at level 4.", "The heart"]),
        ("Atelectasis at level\n 4. The heart", ["Atelectasis at level\n 4.", "The heart"]),
        ("- Effusion\n- No edema\n* Clear", ["Effusion", "No edema", "Clear"]),
        ("• Effusion • No edema", ["Effusion", "No edema"]),
        # line ends
        ("Small\n effusion on\n the left.", ["Small\n effusion on\n the left."]),
        ("Heart is normal\n\nLungs are clear", ["Heart is normal", "Lungs are clear"]),
        ("Heart is normal\nLungs are clear\nNo edema", ["Heart is normal", "Lungs are clear", "No edema"]),
        ("The tip of the\nSwan-Ganz catheter", ["The tip of the\nSwan-Ganz catheter"]),
        ("Right lung,\nLeft lung", ["Right lung,\nLeft lung"]),
        ("LUNGS:\nClear", ["LUNGS:\nClear"]),
        ("The catheter ends in the right atrium as did the\nSwan-Ganz", None),
        ("Clear.\r\nNormal.\rDone.\u2028Read.\x85End", ["Clear.", "Normal.", "Done.", "Read.", "End"]),
        # removed names
        ("Compared to ___. There is edema.", ["Compared to ___.", "There is edema."]),
        ("Compared to ___.There is edema.", ["Compared to ___.", "There is edema."]),
        ("Normal chest x-XXXX. XXXX. Clear.", ["Normal chest x-XXXX.", "Clear."]),
        ("XXXX-year-old. Dr. [**Last Name (un) **] saw.", ["XXXX-year-old.", "Dr. [**Last Name (un) **] saw."]),
        # question marks of doubt, and of a template
        ("Opacity ? pneumonia. Clear.", ["Opacity ? pneumonia.", "Clear."]),
        ("Clear. ? effusion.", ["Clear.", "? effusion."]),
        ("OPACITY ? PNEUMONIA", None),
        ("Pneumothorax? None. Heart normal.", ["Pneumothorax? None.", "Heart normal."]),
        ("Pneumothorax? No effusion.", ["Pneumothorax?", "No effusion."]),
        ("___ . ...", []),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == ([text] if expected is None else expected)


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(["1.", "2)", "a", "No", ".", "\n", "2.5", "vs.", "- ", "\n\n", "A.B", "•"])).map(
            " ".join
        ),
    ).map(without_marks)
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
