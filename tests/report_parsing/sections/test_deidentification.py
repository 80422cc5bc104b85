"""Marks of removed identifiers never become words."""

import pytest

from report_parsing.sections.deidentification import clean_text, count_words, has_words


@pytest.mark.parametrize(
    ("text", "clean", "words"),
    [
        ("___ year old man", "year old man", 3),
        ("Patient ___, seen XXXX\n and\n XXXX.", "Patient, seen and.", 3),
        ("XXXX-year-old female", "year-old female", 3),
        ("Normal chest x-XXXX.", "Normal chest.", 2),
        ("dual-XXXX pacemaker", "dual pacemaker", 2),
        ("XXXX-A-XXXX tip", "tip", 1),
        ("XXXX/lymphoma at XXXXPM", "lymphoma at", 2),
        ("on XXXX/XXXX/XXXX", "on", 1),
        ("XXXX's fracture, XXXX't", "fracture,", 1),
        ("xxxx-year-old", "year-old", 2),
        ("Dr. [**Last Name (un) 12**] saw", "Dr. saw", 2),
        ("By Dr. ___ (___) and ___, ___, ___.", "By Dr. and.", 3),
        ("caf\ufffd\ufffd au lait", "caf au lait", 3),
        ("X-ray of L-XX, XII, a/b - c", "X-ray of L-XX, XII, a/b - c", 9),
        ("___ . XXXX", ".", 0),
    ],
)
def test_marks_are_no_words(text, clean, words):
    assert clean_text(text) == clean
    assert count_words(text) == words
    assert has_words(text) == (words > 0)
