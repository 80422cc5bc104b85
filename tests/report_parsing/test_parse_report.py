"""One report into a row of the `reports` table, and what makes it unusable."""

from contextlib import suppress
from dataclasses import asdict, fields

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.errors import ReportError
from report_parsing.reports import ParsedReport, ReportOptions, clean_text, parse_report
from report_parsing.tables import REPORTS

REPORT = """ INDICATION:  ___ year old man.

 FINDINGS:

 There is a 2.5 cm
 nodule.  ___ was told.

 IMPRESSION:

 1.  Nodule.
 2.  No effusion.
"""


def test_fields_are_the_columns_of_the_table():
    assert [field.name for field in fields(ParsedReport)] == REPORTS.names[2:]
    row = {"cohort": "test", "study_id": "1", **asdict(parse_report(REPORT))}
    assert pa.Table.from_pylist([row], schema=REPORTS).num_rows == 1


def test_text_and_sentences():
    parsed = parse_report(REPORT)
    assert parsed.text == "There is a 2.5 cm nodule. was told. 1. Nodule. 2. No effusion."
    said = [(item.section, " ".join(REPORT[item.start : item.end].split())) for item in parsed.sentences]
    assert said == [
        ("findings", "There is a 2.5 cm nodule."),
        ("findings", "___ was told."),
        ("impression", "Nodule."),
        ("impression", "No effusion."),
    ]
    assert parsed.indication == "___ year old man."
    assert parsed.comparison is None


def test_sections_of_the_text_are_an_option():
    parsed = parse_report(REPORT, options=ReportOptions(sections=("impression", "findings")))
    assert parsed.text.startswith("1. Nodule.")
    assert {item.section for item in parse_report(REPORT, options=ReportOptions(("impression",))).sentences} == {
        "impression"
    }


def test_the_last_occurrence_counts():
    assert parse_report("FINDINGS: First one here.\nFINDINGS: Second one here.").findings == "Second one here."


def test_last_paragraph_stands_in_when_nothing_is_required():
    report = "INDICATION: Cough.\n \n The lungs are clear."
    parsed = parse_report(report, options=ReportOptions(required=()))
    assert parsed.text == "The lungs are clear."
    assert [item.section for item in parsed.sentences] == ["last_paragraph"]


def test_free_notes_are_findings():
    parsed = parse_report("Fever.\nIMPRESSION: hazy opacities in both lungs.", style="free")
    assert parsed.findings == "Fever.\nIMPRESSION: hazy opacities in both lungs."


@pytest.mark.parametrize(
    ("report", "options", "reason"),
    [
        ("", ReportOptions(), "empty_report"),
        (" \n ___ \n", ReportOptions(), "empty_report"),
        ("IMPRESSION: Clear lungs today.", ReportOptions(), "no_findings"),
        ("FINDINGS:\n\nIMPRESSION: Clear lungs today.", ReportOptions(), "no_findings"),
        ("FINDINGS: Clear lungs today.", ReportOptions(required=("impression",)), "no_impression"),
        ("FINDINGS: Clear.", ReportOptions(), "too_short"),
        ("FINDINGS: Clear lungs today.", ReportOptions(minimum_tokens=4), "too_short"),
        ("FINDINGS: Clear\x00 lungs today.", ReportOptions(), "unreadable_report"),
    ],
)
def test_unusable_reports_say_why_without_quoting(report, options, reason):
    with pytest.raises(ReportError) as error:
        parse_report(report, options=options)
    assert error.value.reason == reason
    assert error.value.detail.endswith(".")
    assert "lungs" not in error.value.detail


def test_an_unknown_style_is_the_callers_mistake():
    with pytest.raises(ValueError, match="use 'sectioned' or 'free'"):
        parse_report(REPORT, style="poem")


def test_placeholders_never_become_words():
    assert clean_text("Patient ___, seen XXXX\n and\n x-XXXX.") == "Patient, seen and."


@given(st.text(max_size=200), st.sampled_from(["sectioned", "free"]))
def test_any_text_gives_a_row_or_a_reason(text, style):
    with suppress(ReportError):
        parsed = parse_report(text, style)
        assert "\n" not in parsed.text
        assert all(0 <= item.start < item.end <= len(text) for item in parsed.sentences)
