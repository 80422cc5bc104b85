"""Sections are spans of the report: right, trimmed, disjoint, for any text."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.sections import split_sections

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old man with cough.

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.
 LINES/TUBES:  None.

 IMPRESSION:

 Normal chest.

 NOTIFICATION:  Discussed by telephone.
"""


def bodies(report):
    return {name: [report[start:end] for start, end in spans] for name, spans in split_sections(report).items()}


def test_sections_of_a_report():
    found = bodies(REPORT)
    assert found["preamble"] == ["FINAL REPORT"]
    assert found["examination"] == ["CHEST (PA AND LAT)"]
    assert found["comparison"] == ["None."]
    assert found["findings"] == ["The lungs are clear.\n LINES/TUBES:  None."]  # a sub-heading stays inside
    assert found["impression"] == ["Normal chest."]
    assert found["other"] == ["Discussed by telephone."]
    assert "last_paragraph" not in found


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("Findings:", "findings"),
        ("  findings :", "findings"),
        ("FINDINGS AND IMPRESSION:", "findings"),
        ("CONCLUSION:", "impression"),
        ("IMRESSION:", "impression"),
        ("HISTORY:", "indication"),
        ("REASON FOR EXAM:", "indication"),
        ("TECHNIQUE:", "technique"),
        ("COMPARISONS:", "comparison"),
    ],
)
def test_headings_in_any_case_and_spelling(heading, section):
    assert bodies(f"{heading} Lungs are clear.")[section] == ["Lungs are clear."]


def test_a_heading_stands_at_the_start_of_a_line():
    found = bodies("FINDINGS: Compared with the findings: clear lungs. See impression: none.")
    assert list(found) == ["findings"]


def test_every_occurrence_is_kept_in_order():
    assert bodies("IMPRESSION: One.\nFINDINGS: Two.\nIMPRESSION: Three.")["impression"] == ["One.", "Three."]


def test_empty_findings_do_not_count():
    assert "findings" not in bodies("FINDINGS:\n\nIMPRESSION: Clear.")


def test_last_paragraph_only_without_findings_and_impression():
    found = bodies("INDICATION: Cough.\n \n Heart size is normal.\n \n Lungs are clear.\n")
    assert found["last_paragraph"] == ["Heart size is normal.\n \n Lungs are clear."]
    assert found["indication"] == ["Cough."]
    assert bodies("Lungs are clear.")["last_paragraph"] == ["Lungs are clear."]
    assert "last_paragraph" not in bodies("COMPARISON: None.")
    assert "last_paragraph" not in bodies("IMPRESSION: Clear.\n\nThank you.")


HEADED = st.lists(
    st.sampled_from(["FINDINGS:", "Impression:", "INDICATION:", "FOO BAR:", "\n", " \n", "a b.", "___", ":"])
)


@given(st.one_of(st.text(), HEADED.map("\n".join), HEADED.map(" ".join)))
def test_spans_lie_inside_trimmed_and_disjoint(report):
    spans = sorted(span for found in split_sections(report).values() for span in found)
    for start, end in spans:
        assert 0 <= start < end <= len(report)
        assert report[start:end] == report[start:end].strip()
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


@given(HEADED.map("\n".join))
def test_what_no_section_holds_is_headings_and_blanks(report):
    rest = list(report)
    for found in split_sections(report).values():
        for start, end in found:
            rest[start:end] = " " * (end - start)
    assert re.fullmatch(r"(?:\s|FINDINGS:|Impression:|INDICATION:|FOO BAR:)*", "".join(rest))


def test_a_report_of_many_headings_is_split_in_one_pass():
    report = "\n".join(f"FINDINGS: {number} clear." for number in range(5_000))
    assert len(split_sections(report)["findings"]) == 5_000
    assert split_sections("A" * 200_000) == {"last_paragraph": [(0, 200_000)]}
    assert split_sections(("A" * 60 + "\n") * 2_000)  # lines as long as a heading may be, none with a colon
