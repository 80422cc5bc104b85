"""The simulated reports say what their statements claim, in the form of MIMIC-CXR."""

import numpy as np
import pytest

from cohorts.phantom.config import FINDINGS, PhantomConfig
from cohorts.phantom.findings import Finding
from cohorts.phantom.image import sample_findings
from cohorts.phantom.report import LINE_LENGTH, phrases, write_report

HONEST = PhantomConfig(report_error=0, vagueness=0, omission=0)


def reports(config: PhantomConfig, number: int = 200):
    for seed in range(number):
        rng = np.random.default_rng([7, seed])
        findings = tuple(sample_findings(config, rng))
        yield findings, write_report(config, findings, rng)


def test_lines_and_headings_are_those_of_the_archive():
    for _, report in reports(PhantomConfig(), 60):
        lines = report.text.splitlines()
        assert all(len(line) <= LINE_LENGTH + 1 for line in lines)
        assert all(line.startswith(" ") for line in lines)
        assert "FINDINGS:" in report.text or "IMPRESSION:" in report.text


def test_an_honest_reader_names_every_finding_and_contradicts_none():
    for findings, report in reports(HONEST):
        present = {finding.name for finding in findings}
        for name in FINDINGS:
            said = report.statements.get(name)
            assert said in ((1, -1) if name in present else (0, None))


def test_a_careless_reader_errs_omits_and_hedges():
    wrong = omitted = 0
    for findings, report in reports(PhantomConfig(report_error=0.3, omission=0.3)):
        present = {finding.name for finding in findings}
        wrong += sum(report.statements.get(name) == 0 for name in present)
        omitted += sum(name not in report.statements for name in present)
    assert wrong > 10
    assert omitted > 10


def test_some_reports_have_no_findings_section_and_some_no_impression():
    texts = [report.text for _, report in reports(PhantomConfig(), 300)]
    assert 0 < sum("FINDINGS:" not in text for text in texts) < 30
    assert 0 < sum("IMPRESSION:" not in text for text in texts) < 100


@pytest.mark.parametrize("name", FINDINGS)
def test_every_phrase_can_be_filled(name):
    from cohorts.phantom.report import Reader

    reader = Reader(PhantomConfig(), np.random.default_rng(0))
    finding = Finding(name, "left", "lower", 0.5)
    book = phrases()
    templates = [
        *book["present"][name]["one"],
        *book["present"][name].get("both", []),
        *(template for kind in ("uncertain", "vague", "absent") for template in book[kind][name]),
    ]
    for template in templates:
        sentence = reader.fill(template, finding)
        assert "{" not in sentence
        assert "  " not in sentence
        assert sentence[0].isupper()
