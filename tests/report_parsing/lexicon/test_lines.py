"""Lines lose no character of a sentence and are short."""

from hypothesis import given
from hypothesis import strategies as st

from report_parsing.lexicon.lines import lines_with_origins, split_lines

TEXTS = st.lists(st.sampled_from(["no", "effusion", " ", "\n", "\t", "x" * 700, "é", "\x0b", ","]), max_size=40).map(
    "".join
)


@given(TEXTS)
def test_lines_hold_every_character_in_order(text):
    lines = list(lines_with_origins(text))
    assert [line for line, _ in lines] == split_lines(text)
    assert "".join("".join(line.split()) for line, _ in lines) == "".join(text.split())
    behind = -1
    for line, origin in lines:
        assert len(line) == len(origin) <= 1200
        for character, place in zip(line, origin, strict=True):
            assert behind < place < len(text)
            assert text[place] == character or (character == " " and text[place].isspace())
            behind = place


def test_a_short_sentence_is_its_own_line():
    assert split_lines("No  effusion\n seen.") == ["No effusion seen."]
    assert split_lines(" \n") == []
