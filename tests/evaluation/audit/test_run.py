"""The audit of a run in a tiny home: written once, kept as long as nothing that decides it changes, escaped."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.audit.pages.card import NOTHING_FOUND, NOTHING_TESTED
from evaluation.audit.run import CARD_PAGE, audit_run, find_pages, folder_of, read_headlines
from evaluation.audit.settings import AuditSettings
from evaluation.dataset import EvaluationDataset
from store.errors import UserError
from store.seals import write_sealed_table
from tests.evaluation.seer import RUN, Mute

SETTINGS = AuditSettings(fewest=5, resamples=40, occluded=20)
HOSTILE = "<script>alert(1)</script>|*x*"


def say_of_studies(workspace, **facts):
    """Give the studies facts: a function of the number of the study each."""
    path = workspace.folder("studies") / "studies.parquet"
    table = pq.read_table(path)
    for name, value in facts.items():
        place = table.schema.get_field_index(name)
        values = [value(number) for number in range(len(table))]
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    write_sealed_table(table, path)


def audit(workspace, settings=SETTINGS, run=RUN):
    return audit_run(workspace, run, [EvaluationDataset(workspace)], ["open_i has no archive."], settings, print)


@pytest.fixture
def told(cohort):
    """The tiny cohort, whose archive says who its patients are."""
    say_of_studies(
        cohort,
        sex=lambda number: "FM"[number // 2 % 2 == 0],
        age=lambda number: 20.0 + number // 2 % 60,
        device=lambda number: (HOSTILE, "B")[number // 2 % 3 == 0],
        date=lambda number: f"2020-01-{1 + number % 28:02d}",
    )
    return cohort


@pytest.fixture(autouse=True)
def quick_figures(request, monkeypatch):
    """Figures are drawn in the tests that read the page; they take most of the time."""
    if "stale" in request.node.name:
        for name in ("draw_reliability", "draw_gaps"):
            monkeypatch.setattr(f"evaluation.audit.pages.page.{name}", lambda *given: b"")


def test_an_audit_is_a_page_a_card_and_numbers_that_are_kept(told, seer):
    written = audit(told)
    assert (written.computed, written.reused) == (1, 0)
    assert written.folder == folder_of(told, RUN)
    names = {path.name for path in written.folder.iterdir()}
    assert names == {
        "index.html",
        "model_card.md",
        "model_card.html",
        "phantom.json",
        "phantom.json.sha256",
        "found.json",
        "found.json.sha256",
    }
    assert read_headlines(written.folder) == (written.audit.headlines() or [NOTHING_FOUND])
    (one,) = written.audit.datasets
    assert one.dates == ("2020-01-01", "2020-01-28")
    assert {test.fact for test in one.tests} >= {"device", "age"}
    assert {row.point for row in one.operating_points} == {"youden", "0.9", "0.95"}
    (address,) = find_pages(told.home_path() / "results").values()
    assert (told.home_path() / "results" / "tables" / address).resolve() == written.page
    shown = seer.shown
    again = audit(told)
    assert (again.computed, again.reused) == (0, 1)
    assert seer.shown == shown
    assert again.audit.datasets == written.audit.datasets


def test_what_decides_the_numbers_makes_them_stale(told, seer, monkeypatch):
    written = audit(told)
    assert audit(told, replace(SETTINGS, bins=7)).computed == 1
    assert audit(told).computed == 1
    say_of_studies(told, site=lambda number: "AB"[number // 2 % 2])
    assert audit(told).computed == 1
    assert audit(told).computed == 0
    (written.folder / "phantom.json").write_text("{}")
    assert audit(told).computed == 1
    monkeypatch.setattr("evaluation.predictions.Predictions.expect_weights", lambda self: None)
    assert audit(told, run=replace(RUN, checkpoint_digest="0" * 64)).computed == 1


def test_names_of_an_archive_are_text_on_every_page(told, seer):
    written = audit(told)
    for name in ("index.html", CARD_PAGE):
        page = (written.folder / name).read_text()
        assert "<script" not in page
        assert "default-src 'none'" in page
    assert "&lt;script&gt;" in written.page.read_text()
    assert HOSTILE not in written.card.read_text()


def test_the_card_says_what_was_not_measured_and_that_it_is_no_medical_device(told, seer):
    text = audit(told).card.read_text()
    for part in (
        "Not a medical device", "open_i has no archive.", "Gaps by site were not measured", "Holm", "temperature",
        "phantom (simulated)", "Shortcuts by support devices were not measured",
    ):  # fmt: skip
        assert part in text
    assert re.search(r"\| Pneumothorax \| \d+ \| \d+ \| \d\.\d{3} \[\d\.\d{3}, 1\.000\] \| 1\.000", text)


def test_where_nothing_can_be_read_there_is_one_sentence(told, seer):
    (told.folder("studies") / "studies.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"Nothing of medklip was audited. phantom was not audited: .*studies.parquet"):
        audit(told)


def test_a_network_that_cannot_be_asked_is_one_sentence(told, monkeypatch):
    monkeypatch.setattr("models.saved.load_method", lambda output, weights: Mute())
    with pytest.raises(UserError, match="Mute has no zero-shot classification"):
        audit(told)


def test_a_dataset_without_a_group_that_can_be_measured_says_so(told, seer):
    written = audit(told, replace(SETTINGS, fewest=1000, occluded=0))
    assert read_headlines(written.folder) == [NOTHING_TESTED]
    assert "No cue was painted over: the setting `occluded` is 0." in written.card.read_text().replace("\\`", "`")


def test_numbers_are_plain_json(told, seer):
    written = audit(told)
    content = json.loads((written.folder / "phantom.json").read_text())
    assert set(content) == {"key", "audit"}
    assert "NaN" not in (written.folder / "phantom.json").read_text()
