"""`reference` sections are those of the published parser of MIMIC-CXR, its errors included (txt/section_parser.py)."""

import pytest

from report_parsing.errors import ReportError
from report_parsing.reports import ReportOptions, parse_report
from report_parsing.resources import read_rows
from report_parsing.sections.parser import split_sections, tile


def bodies(report, sectioning="reference"):
    found = split_sections(report, sectioning)
    return {name: [report[start:end] for start, end in spans] for name, spans in found.items()}


def name_of(heading):
    return tile(f" FINAL REPORT\n {heading}: Clear.\n", "reference")[1].name


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("FINDINGS", "findings"),
        ("FINDINGS/IMPRESSION", "impression"),
        ("FINDINGS/ IMPRESSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("IMPRESSION AND FINDINGS", "impression"),  # holds "impression", which comes first
        ("FINDINGS AND RECOMMENDATION", "findings"),
        ("CONCLUSION", "impression"),
        ("CONCLUSIONS", "conclusions"),
        ("FINAL IMPRESSION", "impression"),
        ("IMPRESSON", "impression"),
        ("MPRESSION", "impression"),
        ("NDICATION", "impression"),  # an error of the reference
        ("IDICATION", "indication"),
        ("FINIDNGS", "findings"),
        ("FIDNINGS", "fidnings"),  # not among its misspellings
        ("COMPARRISON", "comparison"),
        ("COMPARISON EXAM", "comparison"),
        ("PORTABLE AP CHEST RADIOGRAPH", "findings"),
        ("CHEST, PA AND LATERAL", "findings"),
        ("SINGLE AP VIEW", "findings"),
        ("BONE WINDOWS", "findings"),
        ("LEFT RIBS", "findings"),
        ("CHEST HISTORY", "history"),
        ("HISTORY", "history"),
        ("CLINICAL INFORMATION", "history"),
        ("PFI", "history"),
        ("CLINICAL INDICATION", "indication"),
        ("REASON FOR THIS EXAMINATION", "reason for this examination"),
        ("TYPE OF EXAMINATION", "examination"),
        ("RECOMMENDATION(S)", "recommendations"),
        ("WETREAD", "wet read"),
        ("REPORT ADDENDUM", "addendum"),
        ("LUNGS", "lungs"),
        (" TECHNIQUE ", "technique"),
    ],
)
def test_names_of_headings(heading, name):
    assert name_of(heading) == name


def test_every_listed_heading_has_its_name():
    rows = [row for row in read_rows("reference_headings.csv") if row["match"] == "whole"]
    assert len(rows) == 58
    assert [name_of(row["heading"].upper()) for row in rows] == [row["section"] for row in rows]


def test_form_of_a_heading():
    report = " PREAMBLE: text\n EXAM:  A\n Findings: B\nFINDINGS: C\n FINDINGS:D\n 1. FINDINGS: E\n IMPRESSION: F\n"
    assert bodies(report) == {
        "preamble": ["PREAMBLE: text"],
        "examination": ["A\n Findings: B\nFINDINGS: C\n FINDINGS:D\n 1. FINDINGS: E"],
        "impression": ["F"],
    }
    assert bodies("\n FINDINGS:\n IMPRESSION: F") == {"findings": ["IMPRESSION: F"]}  # its line end is taken


def test_organs_close_the_findings_and_signatures_nothing():
    report = "\n FINDINGS: Clear.\n LUNGS: Clear.\n Dictated by Dr. ___\n"
    assert bodies(report) == {"findings": ["Clear."], "lungs": ["Clear.\n Dictated by Dr. ___"]}
    assert bodies(report, "mended") == {"findings": ["Clear.\n LUNGS: Clear."], "other": ["Dr. ___"]}


@pytest.mark.parametrize(
    ("report", "last"),
    [
        ("\n HISTORY: Cough.\n \n Clear.\n \n Normal.\n NOTIFICATION: A\n \n B", ["B"]),
        ("\n HISTORY: Cough.\n \n Clear.\n \n Normal.", ["Clear.\n \n Normal."]),
        ("\n HISTORY: Cough.\n \n Clear.\n FINDINGS:  \n", ["Clear."]),  # empty findings are no section
        ("Cough.\n \n Clear.", ["Clear."]),
        ("Clear.\n\nNormal.", None),
        ("\n FINDINGS: Normal.\n HISTORY: Cough.\n \n Clear.", None),
    ],
)
def test_last_paragraph(report, last):
    assert bodies(report).get("last_paragraph") == last


def test_a_text_without_headings():
    assert bodies("Clear.") == {"full report": ["Clear."]}
    assert tile("", "reference") == []


def test_the_last_section_of_a_name_counts_though_it_be_empty():
    options = ReportOptions(sectioning="reference", required=())
    report = "\n COMPARISON: None was made.\n FINDINGS: Heart is normal.\n COMPARISON: \n FINDINGS: \n"
    parsed = parse_report(report, options=options)
    assert (parsed.comparison, parsed.findings, parsed.last_paragraph) == ("", "Heart is normal.", None)
    with pytest.raises(ReportError, match="fewer than 3 words"):  # the paragraph, not the comparison, is read
        parse_report("\n COMPARISON: Chest film of May.\n \n ", options=options)


def test_history_is_shown_with_the_indications():
    report = "\n HISTORY: Cough.\n FINDINGS: Heart is normal."
    assert parse_report(report, options=ReportOptions(sectioning="reference")).indication == "Cough."
