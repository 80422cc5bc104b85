"""White space that carries no meaning is told apart by nobody who reads plain text."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from report_parsing.sections.layout import BLANKS, LINE_ENDS, is_short, plain, trim


def test_every_white_space_is_a_blank_or_a_line_end():
    known = set(LINE_ENDS + BLANKS + " \n")
    assert known == {chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()}
    assert plain("a\r\nb\rc\u2028d\x85e\tf\xa0g") == "a \nb\nc\nd\ne f g"


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\r\n\t\xa0\u2028"))))
def test_plain_text_keeps_every_place(text):
    written = plain(text)
    assert plain(written) == written
    assert [a for a, b in zip(text, written, strict=True) if a != b and not a.isspace()] == []
    assert {character for character in written if character.isspace()} <= {" ", "\n"}


@given(st.text(alphabet="a \n\t"), st.integers(0, 9), st.integers(0, 9))
def test_trim(text, start, end):
    begin, stop = trim(text, min(start, len(text)), min(max(start, end), len(text)))
    assert text[begin:stop] == text[start : max(start, end)].strip()


def test_short_lines_are_told_by_their_words():
    assert is_short("Small effusion" + 60 * " " + "on the left")
    assert not is_short("Small effusion on the left, not seen on the film of last year")
