"""Reports in many styles (`styles.txt`): markup, leaders, tables, letters; and sentences that look like headings."""

import re
from pathlib import Path

import pytest

from report_parsing.language.readable import readable
from report_parsing.sections.parser import split_sections

STYLES = re.split(r"(?m)^=== ", Path(__file__).with_name("styles.txt").read_text(encoding="utf-8"))[1:]


def words(text):
    return " ".join(re.sub(r'[|"{}]', " ", readable(text).text).strip(" ,\n").split())


def sections_of(report):
    return {
        name: " ".join(words(report[slice(*span)]) for span in spans) for name, spans in split_sections(report).items()
    }


@pytest.mark.parametrize("case", STYLES, ids=[case.split("\n")[0] for case in STYLES])
def test_styles(case):
    report, expected = case.split("\n", 1)[1].rsplit("\n---\n", 1)
    found = sections_of(report)
    wanted = dict(line.split(": ", 1) for line in expected.strip().split("\n"))
    assert {name: found.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "sentence",
    [
        "Lateral view: the spine sign is positive.",
        "Prior chest x-ray: not available.",
        "Chest x-ray from May: no change.",
        "The findings. Impression of a mass.",
        "Position of Tip: low.",
        "Follow-up: six weeks.",
        "A. The lungs are clear.",
        "V. Normal.",
        "See note 1: stable.",
        "PA: clear. AP: clear.",
        "Heart size 1.5: normal.",
    ],
)
def test_sentences_are_no_headings(sentence):
    report = f"FINDINGS: Clear.\n{sentence}\nClear."
    assert sections_of(report) == {"findings": words(f"Clear. {sentence} Clear.")}


@pytest.mark.parametrize(
    "administrative",
    [
        "Primary Diagnostic Code: 4",
        "Secondary Diagnostic Codes:\n ABNORMALITY",
        "Primary Interpreting Staff:\n JOHN ROE, MD",
        "Attending Radiologist: J. Roe",
        "Transcription Date/Time: 1/1/2020",
        "Approved by: J. Roe",
    ],
)
def test_administration_closes_the_impression(administrative):
    assert sections_of(f"FINDINGS: Clear.\nIMPRESSION: Normal.\n{administrative}")["impression"] == "Normal."
