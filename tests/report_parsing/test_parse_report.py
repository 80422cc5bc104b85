"""One report into a row of the `reports` table, and what makes it unusable."""

from dataclasses import asdict, fields

import pyarrow as pa
import pytest

from report_parsing.errors import ReportError
from report_parsing.reports import ParsedReport, ReportOptions, parse_report
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


def test_the_last_occurrence_counts_or_all_of_them():
    report = "FINDINGS: First one here.\nFINDINGS: Second one here."
    assert parse_report(report).findings == "Second one here."
    parsed = parse_report(report, options=ReportOptions(repeated="all"))
    assert parsed.findings == "First one here.\n\nSecond one here."
    assert parsed.text == "First one here. Second one here."
    assert [report[item.start : item.end] for item in parsed.sentences] == ["First one here.", "Second one here."]


def test_sections_tile_the_report():
    parsed = parse_report(REPORT)
    assert "".join(REPORT[section.start : section.end] for section in parsed.sections) == REPORT
    assert [section.name for section in parsed.sections] == ["indication", "findings", "impression"]
    assert parse_report("Fever. Clear lungs.", style="free").sections == [("findings", 0, 0, 19)]


def test_last_paragraph_stands_in_when_nothing_is_required():
    report = "INDICATION: Cough.\n \n The lungs are clear."
    parsed = parse_report(report, options=ReportOptions(required=()))
    assert parsed.text == "The lungs are clear."
    assert [item.section for item in parsed.sentences] == ["last_paragraph"]


def test_the_reference_takes_one_section_instead():
    nothing = ReportOptions(required=(), sectioning="reference")
    assert parse_report("\n COMPARISON: Film of May 2nd.\n", options=nothing).text == "Film of May 2nd."
    only = ReportOptions(sections=("impression",), required=(), sectioning="reference")
    assert parse_report("\n FINDINGS: The lungs are clear.\n", options=only).text == "The lungs are clear."


def test_short_sentences_can_be_left_out():
    report = "FINDINGS: Cardiomegaly. No effusion.\nIMPRESSION: 1. Edema. 2. Large heart."
    parsed = parse_report(report, options=ReportOptions(minimum_sentence_tokens=2))
    assert parsed.text == "No effusion. Large heart."
    assert [report[item.start : item.end] for item in parsed.sentences] == ["No effusion.", "Large heart."]


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
        ("FINDINGS: 1. Clear. 2. Normal.", ReportOptions(), "too_short"),  # list numbers are no words
        ("FINDINGS: Chest x-XXXX of ___ XXXX.", ReportOptions(), "too_short"),  # nor are removed ones
        ("FINDINGS: Clear. Normal. Large.", ReportOptions(minimum_sentence_tokens=2), "too_short"),
        ("COMPARISON: Film of May 2nd.", ReportOptions(required=()), "no_text"),
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
    with pytest.raises(ValueError, match="use sectioned, free, stemmed"):
        parse_report(REPORT, style="poem")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sections": ("impresion",)}, "sections has no choice 'impresion'; use examination, .*impression"),
        ({"required": ("text",)}, "required has no choice 'text'"),
        ({"sectioning": "official"}, "sectioning has no choice 'official'; use mended, reference."),
        ({"repeated": "first"}, "repeated has no choice 'first'; use last, all."),
    ],
)
def test_choices_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        ReportOptions(**options)


def test_sentences_hold_no_marks_of_removed_names():
    parsed = parse_report("FINDINGS: Compared with ___, the\n XXXX effusion is small. XXXX opacities, x-XXXX normal.")
    assert [item.text for item in parsed.sentences] == ["Compared with, the effusion is small.", "opacities, normal."]
