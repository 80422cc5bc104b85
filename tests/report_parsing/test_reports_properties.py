"""What holds for any text: spans index it, sections tile it, and its layout does not matter."""

import random
import re
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from report_parsing.errors import ReportError
from report_parsing.language.readable import readable
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.sections.layout import BLANKS, LINE_ENDS
from report_parsing.sections.parser import split_sections, tile
from report_parsing.sections.sentences import split_sentences

PIECES = (  # noqa: SIM905  (a list would be a page long)
    "FINDINGS:|Findings|findings -|1. FINDINGS:|FINDINGS AND|IMPRESSION|Impression:|impression:|ADDENDUM:|FINAL REPORT|"
    "WET READ:|Clinical History:|HISTORY|COMPARISON TO|FOO BAR:|LUNGS:|Heart:|CHEST, TWO VIEWS:|Dictated by|<FINDINGS>|"
    "</FINDINGS>|**Impression**|[FINDINGS]|IMPRESION:|exam type:|The|lungs are clear.|No|no|acute|effusion|Heart.|ARE|"
    "2.5 cm|3|cm.|in|1.|2.|2)|(1)|-|•|Dr.|vs.|e.g.|a.m.|no.|...|clear.The|clear.no|T8-T9.|5.|EDEMA.|NORMAL.NO|(see|"
    "above)|:|.|,|;|?|___|___.|XXXX|x-XXXX.|[**A b**]|\ufffd|é|ß|İ"
).split("|")
GAPS = (" ", " ", " ", "\n", "\n", "\n\n")
REPORTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(GAPS)), max_size=30).map(
    lambda parts: "".join(piece + gap for piece, gap in parts)
)
ANY_TEXT = st.one_of(REPORTS, st.text(), st.text(alphabet="A:. \n1)-\r\u2028\xa0_X<>"))
OPTIONS = st.builds(
    ReportOptions,
    sections=st.sampled_from([("findings", "impression"), ("impression", "findings"), ("impression",)]),
    required=st.just(()),
    minimum_tokens=st.integers(0, 3),
    minimum_sentence_tokens=st.integers(1, 2),
    sectioning=st.sampled_from(["mended", "reference"]),
    repeated=st.sampled_from(["last", "all"]),
)


def letters(text):
    return [character for character in readable(text).text if character.isalnum()]


@given(ANY_TEXT, st.sampled_from(["mended", "reference"]))
def test_sections_tile_the_report(report, sectioning):
    sections = tile(report, sectioning)
    assert "".join(report[s.start : s.body] + report[s.body : s.end] for s in sections) == report
    assert all(s.start <= s.body <= s.end for s in sections)
    assert [s.start for s in sections] == [0, *(s.end for s in sections)][: len(sections)]


@given(ANY_TEXT, st.sampled_from(["mended", "reference"]))
def test_split_sections_are_the_trimmed_bodies(report, sectioning):
    spans = sorted((span, name) for name, found in split_sections(report, sectioning).items() for span in found)
    bodies = [(letters(report[s.body : s.end]), s.name) for s in tile(report, sectioning)]
    found = [(letters(report[start:end]), name) for (start, end), name in spans]
    assert [body for body in found if body[0]] == [body for body in bodies if body[0]]
    assert all(report[start:end].strip() == report[start:end] for (start, end), _ in spans)


@given(ANY_TEXT, st.sampled_from(["sectioned", "free"]), OPTIONS)
def test_any_text_gives_a_row_or_a_reason(report, style, options):
    with suppress(ReportError):
        parsed = parse_report(report, style, options)
        assert len(parsed.text.splitlines()) <= 1
        assert not re.search(r"_|XXX|\ufffd|\[\*\*", parsed.text)
        for name, start, end, _ in parsed.sentences:
            assert 0 <= start < end <= len(report)
            assert report[start:end].strip() == report[start:end]
            assert report[start:end] in getattr(parsed, name)


def relaid(report: str, seed: int) -> str:
    """The report with other line ends, blanks, indentation, and empty lines."""
    chance = random.Random(seed)
    line_end = chance.choice(["\n", "\r\n", *LINE_ENDS])

    def blanks(least: int) -> str:
        return "".join(chance.choices(" " + BLANKS, k=chance.choice([least, least, least + 1, least + 90])))

    def lines(match: re.Match[str]) -> str:
        count = 1 if match[0].count("\n") == 1 else chance.randint(2, 4)
        return blanks(0) + "".join(line_end + blanks(0) for _ in range(count))

    def gap(match: re.Match[str]) -> str:
        return lines(match) if "\n" in match[0] else blanks(1)

    around = [line_end * chance.randint(0, 2) + blanks(0) for _ in range(2)]
    return around[0] + re.sub(r" *\n[ \n]*| +", gap, report.strip()) + around[1]


def normal(text: str) -> str:
    return " ".join(text.split())


def reading(report: str) -> list:
    sections = [(s.name, normal(report[s.start : s.body]), normal(report[s.body : s.end])) for s in tile(report)]
    sentences = [normal(report[slice(*span)]) for span in split_sentences(report, 0, len(report))]
    try:
        parsed = parse_report(report, options=ReportOptions(required=(), repeated="all"))
    except ReportError as error:
        return [sections, sentences, error.reason]
    return [sections, sentences, parsed.text, [normal(report[start:end]) for _, start, end, _ in parsed.sentences]]


@given(REPORTS.filter(str.strip), st.integers(0, 2**32))
def test_layout_without_meaning_changes_nothing(report, seed):
    assert reading(relaid(report, seed)) == reading(report)
