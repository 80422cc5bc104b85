"""The page and the model card of an audit that has found something: their structure, their numbers, in a browser."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evaluation.audit import rows
from evaluation.audit.audit import Audit, describe_found
from evaluation.audit.measure import compare_scores
from evaluation.audit.measures.calibration import NOT_IN_VALIDATE, TEMPERATURE, measure_calibration
from evaluation.audit.measures.counts import count_findings
from evaluation.audit.measures.multiplicity import correct
from evaluation.audit.measures.operating_points import measure_points
from evaluation.audit.measures.shortcuts import describe_cues
from evaluation.audit.pages.card import card_as_html, card_as_markdown
from evaluation.audit.pages.page import as_html
from evaluation.audit.rows import AUROC, NEGATIVES, PAINTED, DatasetAudit
from evaluation.audit.settings import AuditSettings
from evaluation.audit.shift import ShiftMatrix
from evaluation.results.trainings import Training
from tests.browser import CHROMIUM, Browser
from tests.evaluation.audit.simulated import simulate
from tests.evaluation.seer import RUN

SETTINGS = AuditSettings(resamples=40)
VOID = {"meta", "img", "br"}
FALL = rows.Tested(
    PAINTED, "finding 1", "tube", "painted over", "a region beside it", 30, 40, 0.4, 0.0, 0.4, 0.3, 0.5, 1e-9
)


@pytest.fixture(scope="module")
def audit():
    """That of scores with a gap in women and a tube that is looked at."""
    examined = simulate(8000, seed=0, gap=0.1, cue=0.5)
    one = DatasetAudit("phantom", "v" * 64, True, {"test": 6000}, {"test": 4800}, ("2020-01-01", "2020-12-31"))
    one.calibration.extend(measure_calibration(examined, SETTINGS))
    one.operating_points.extend(measure_points(examined, SETTINGS))
    one.tests.extend([*compare_scores(examined, SETTINGS), FALL])
    one.cues.extend(describe_cues(examined, examined.test.labels, examined.cues))
    one.counts.extend(count_findings("test", examined.findings, examined.test.labels, examined.groups))
    one.unmeasured.append("Gaps by site were not measured: the archive does not say it.")
    training = Training(RUN, Path("run"))
    return Audit(
        training, "phantom", SETTINGS, correct([one]), ["No archive."], ShiftMatrix((), {}, frozenset()), "now"
    )


class Structure(HTMLParser):
    """Every tag is closed in its order; how many cells each row of a table has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[int]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.attributes.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append(0)
        if tag in ("td", "th"):
            self.tables[-1][-1] += int(found.get("colspan", 1))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("render", [as_html, card_as_html])
def test_a_page_is_whole_and_loads_nothing(audit, render):
    found = Structure(render(audit))
    assert not found.open
    assert len(found.tables) >= 5
    assert all(len(set(rows)) == 1 for rows in found.tables)
    assert {tag for tag, _ in found.attributes} & {"script", "link", "iframe", "form"} == set()
    assert all(attributes["src"].startswith("data:image/png") for tag, attributes in found.attributes if tag == "img")
    targets = {attributes.get("id") for _, attributes in found.attributes}
    links = [attributes["href"] for tag, attributes in found.attributes if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= targets


def test_what_is_found_is_said_first_and_marked(audit):
    page = as_html(audit)
    head = page.split('id="dataset-1"')[0]
    for sentence in audit.headlines():
        assert sentence.replace("<", "&lt;").replace(">", "&gt;") in head
    assert page.count('class="found"') == len(audit.found(audit.datasets[0])) >= 3
    kinds = {test.kind for test in audit.found(audit.datasets[0])}
    assert {AUROC, NEGATIVES, PAINTED} <= kinds


def test_the_card_has_the_numbers_of_what_is_found(audit):
    text = card_as_markdown(audit)
    gaps = [test for test in audit.found(audit.datasets[0]) if (test.kind, test.fact) == (AUROC, "sex")]
    assert gaps
    for gap in gaps:
        assert f"| {gap.difference:.3f} [{gap.low:.3f}, {gap.high:.3f}] | " in text
    assert "No archive." in text
    assert "none is needed: the images are simulated" in text


def test_what_validate_or_test_lack_is_said_on_page_and_card(audit):
    """Such as a finding that nobody of validate has; a negative temperature; nothing that was tested."""
    (one,) = audit.datasets
    lacking = replace(one.operating_points[0], finding="<script>", rates={}, threshold=None, reason=NOT_IN_VALIDATE)
    reverse = [replace(row, slope=-1.0) if row.scaling == TEMPERATURE else row for row in one.calibration]
    other = replace(one, operating_points=[lacking], calibration=reverse, tests=[replace(FALL, p=None, adjusted=None)])
    found = replace(audit, datasets=[other], shift=ShiftMatrix(("a",), {}, frozenset("a")))
    sentence = f"scalings and operating points of &lt;script&gt; were not measured: {NOT_IN_VALIDATE}."
    for text in (as_html(found), card_as_html(found), card_as_markdown(found)):
        assert sentence in text
        assert "A negative temperature says" in text
        assert "No gap and no shortcut could be tested" in text
        assert "Holm" not in text
        assert "youden (best sum of sensitivity and specificity)" in text
        assert "<script" not in text
    assert "A negative temperature says" not in card_as_markdown(audit)


def test_a_finding_is_a_sentence_with_its_numbers(audit):
    gap = rows.Tested(AUROC, "Edema", "sex", "F", "M", 9, 9, 0.8, 0.9, -0.1, -0.15, -0.05, 1e-4, 0.004)
    assert describe_found(gap) == (
        "the AUROC of Edema is 0.800 for sex F, 0.900 for M: -0.100 [-0.150, -0.050], corrected p = 0.004."
    )
    cue = rows.Tested(NEGATIVES, "Edema", "tube", "with", "without", 9, 9, 0.6, 0.5, 0.1, 0.05, 0.15, 1e-9, 1e-7)
    assert describe_found(cue) == (
        "images without Edema score higher for it with tube than without it in 60.0 % of pairs (50 % where tube does "
        "not matter), corrected p < 0.001."
    )
    assert "lowers the scores of finding 1: they fall by +0.400 [+0.300, +0.500] logits more" in describe_found(FALL)
    assert any("In train, tube comes with" in sentence for sentence in audit.headlines())


@pytest.mark.skipif(not CHROMIUM, reason="no chromium to look at the page with")
@pytest.mark.parametrize("render", [as_html, card_as_html])
def test_a_page_fits_a_screen_and_a_phone(audit, render, tmp_path):
    (tmp_path / "page.html").write_text(render(audit), encoding="utf-8")
    browser = Browser(tmp_path / "profile")
    try:
        browser.open((tmp_path / "page.html").as_uri())
        for width in (1280, 390):
            browser.resize(width, 800)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 100)")
    finally:
        browser.close()
