"""The audit of a run in a tiny home: written once, kept as long as nothing that decides it changes, escaped."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.audit.pages.card import NOTHING_FOUND
from evaluation.audit.run import CARD_PAGE, audit_run, find_pages, folder_of, read_headlines
from evaluation.audit.settings import AuditSettings
from evaluation.dataset import EvaluationDataset
from store.seals import write_sealed_table
from tests.evaluation.seer import RUN

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


@pytest.mark.parametrize("change", ["settings", "weights", "facts", "damage"])
def test_what_decides_the_numbers_makes_them_stale(told, seer, change, monkeypatch):
    written = audit(told)
    settings, run = SETTINGS, RUN
    if change == "settings":
        settings = replace(SETTINGS, bins=7)
    if change == "weights":
        run = replace(RUN, checkpoint_digest="0" * 64)
        monkeypatch.setattr("evaluation.predictions.Predictions.expect_weights", lambda self: None)
    if change == "facts":
        say_of_studies(told, site=lambda number: "AB"[number // 2 % 2])
    if change == "damage":
        (written.folder / "phantom.json").write_text("{}")
    assert audit(told, settings, run).computed == 1


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


def test_a_dataset_that_cannot_be_read_is_left_out_with_its_reason(told, seer):
    (told.folder("studies") / "studies.parquet").write_bytes(b"")
    written = audit(told)
    assert not written.audit.datasets
    assert "phantom was not audited" in written.card.read_text()


def test_numbers_are_plain_json(told, seer):
    written = audit(told)
    content = json.loads((written.folder / "phantom.json").read_text())
    assert set(content) == {"key", "audit"}
    assert "NaN" not in (written.folder / "phantom.json").read_text()
