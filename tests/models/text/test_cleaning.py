import pytest

from models.text.cleaning import words_only


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("No pleural effusion.", "no pleural effusion"),
        ("Right-sided\neffusion,  2.5 cm (new).", "right sided effusion 2 5 cm new"),
        ("naïve \ufffd\ufffd ü film", "nave film"),  # as the authors do it: the letter goes, the word stays
        ("words only", "words only"),
        (" -. ", ""),
        ("", ""),
    ],
)
def test_words_only(text, clean):
    assert words_only(text) == clean
    assert words_only(clean) == clean
