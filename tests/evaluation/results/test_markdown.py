"""Values of an archive stay text in Markdown, as a parser of Markdown reads it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evaluation.results.markdown import APART, escape_markdown, markdown_table

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
PLAIN = {"text", "text_special"}
PIECES = st.sampled_from(
    [
        *"\\|`*_~[]()!<>&#-+:.'\"=/ \n\r\t\v\f\x00\x1b\x85\u2028",
        "](",
        "![",
        "a",
        "B",
        "7",
        "é",
        "&amp;",
        "&#124;",
        "<b>",
    ]
)
HOSTILE = (
    "a|b", "a\\|b", "a\\", "a\nb", "a\r\n| x | y |", "`a|b`", "``", "<img src=x onerror=alert(1)>", "</td></table>",
    "<http://evil.example>", "![x](http://evil.example/a.png)", "[x](javascript:alert(1))", "[x][y]",
    "[x]: http://evil.example", "&lt;b&gt;", "**bold**", "__init__", "~~gone~~", "a_b_c", "|", "---", "# a", "\\`a\\`",
)  # fmt: skip


def cells(text: str) -> list[list[str]]:
    """The cells of the only table in a text, each of which must hold plain text alone."""
    tokens = PARSER.parse(text)
    assert tokens[0].type == "table_open"
    assert tokens[-1].type == "table_close"
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            assert {child.type for child in token.children} <= PLAIN, text
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def shown(value: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", value).strip()


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_a_cell_like_any_other(value):
    found = cells(markdown_table(("reason", "images"), [(value, 1), ("other", value)]))
    assert [[cell.replace(APART, "") for cell in row] for row in found] == [
        ["reason", "images"],
        [shown(value), "1"],
        ["other", shown(value)],
    ]


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_value_is_shown_as_it_is(value):
    found = cells(markdown_table(("a", "b"), [(value, "end")]))
    assert [[cell.replace(APART, "") for cell in row] for row in found[1:]] == [[shown(value), "end"]]


@pytest.mark.parametrize(
    "address",
    ["http://evil.example", "HTTPS://evil.example", "www.evil.example", "a@evil.example", "mailto:a@b.example"],
)
def test_an_address_does_not_become_a_link(address):
    """GitHub's Markdown, which Dagster shows, makes links of bare addresses, also of escaped ones."""
    text = escape_markdown(f"see {address}")
    assert not re.search(r"https?://|www\.|mailto:a|\w@\w", text, re.IGNORECASE)
    assert text.replace(APART, "") == f"see {address}"


def test_plain_text_stays_readable():
    for text in ("linear_probe", "0.900 [0.850, 0.950]", "covidx · zero_shot · 10 %", "+1.2", "a (b), c: d"):
        assert escape_markdown(text) == text
