"""Nights of the tiny cohort: what is scored, when, and what is warned of."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.monitoring import nights as module
from evaluation.monitoring.accuracy import ACCURACY
from evaluation.monitoring.drift import DRIFT
from evaluation.monitoring.nights import HELD_OUT, TRAIN, series_folder
from evaluation.monitoring.quantities import stability_index
from evaluation.monitoring.scored import SCORED
from evaluation.monitoring.settings import MonitoringSettings
from shards.manifest import Manifest
from shards.writer import write_manifest
from store.errors import DamageError, SettingError
from store.seals import seal_path
from tests.browser import CHROMIUM, Browser
from tests.evaluation import seer as tiny
from tests.evaluation.monitoring.conftest import ADDED, FIRST, QUICK


def darker(row):
    """As another device takes it."""
    pixels = np.frombuffer(row["pixels"], np.uint8) // 4
    return {**row, "pixels": pixels.tobytes(), "device": "Other"}


def test_nothing_is_new_after_the_training(hospital):
    found = hospital.watch()
    assert found.nights == ()
    assert found.drift.num_rows == 0
    assert found.warned() == []
    assert "No study has come since the training" in found.page.read_text()


def test_a_night_has_what_came_and_a_night_without_news_adds_nothing(hospital, seer):
    hospital.watch()
    hospital.add(ADDED)
    shown = seer.shown
    found = hospital.watch()
    assert seer.shown == shown + 2 * ADDED  # each image once for scores, once for maps
    assert found.series.computed == 1
    (night,) = found.nights
    assert list(night.images) == [f"i{index:04d}" for index in range(FIRST, FIRST + ADDED)]
    table = found.series.tables[night.name]
    assert table.schema == SCORED
    assert table["image_id"].to_pylist() == list(night.images)
    assert set(table["split"].to_pylist()) == {"train", "validate", "test"}
    again = hospital.watch()
    assert (again.series.computed, seer.shown) == (0, shown + 2 * ADDED)
    assert (again.nights, again.digest()) == (found.nights, found.digest())


def test_scores_and_facts_are_those_of_the_images(hospital):
    hospital.add(ADDED, lambda row: {**row, "sex": "F", "age": 40.0, "device": "A"})
    found = hospital.watch()
    rows = found.series.tables["night-0001"].to_pylist()
    for row in rows:
        source = next(one for one in hospital.rows if one["image_id"] == row["image_id"])
        pixels = np.frombuffer(source["pixels"], np.uint8)
        assert row["grey"] == pytest.approx(pixels.mean(), abs=1e-4)
        assert row["contrast"] == pytest.approx(pixels.std(), abs=1e-4)
        assert (row["sex"], row["age"], row["device"], row["kind"]) == ("F", 40.0, "A", "frontal")
        assert dict(row["labels"]) == dict(source["labels"])
        quarters = pixels.reshape(2, 4, 2, 4).mean(axis=(1, 3)).ravel() / 255
        assert list(dict(row["scores"]).values()) == pytest.approx(quarters[:3].tolist(), abs=1e-6)
    assert not {"text", "subject_id", "study_id"} & set(SCORED.names)


def test_a_night_with_another_device_is_warned_of_and_the_others_are_not(hospital):
    for night in range(4):
        hospital.add(ADDED, darker if night == 2 else lambda row: row)
        found = hospital.watch()
        assert bool(found.warned()) == (night == 2), found.warned()
    rows = [row for row in found.drift.to_pylist() if row["night"] == "night-0003" and row["warned"]]
    assert {"mean grey level", "device", "score: Edema"} <= {row["quantity"] for row in rows}
    (device,) = [row for row in rows if row["quantity"] == "device"]
    assert device["groups"] == "Other: 20 of 20 (0%); not said: 0 of 20 (100%)"
    assert device["distance"] == 1
    assert found.drift.schema.names == DRIFT.names


def test_what_changes_little_by_little_is_seen_in_the_last_nights_together(hospital):
    """A shift that no night of twenty shows by itself."""

    def brighter(row):
        return {**row, "pixels": (np.frombuffer(row["pixels"], np.uint8) + 4).tobytes()}

    warned = []
    for _ in range(4):
        hospital.add(ADDED, brighter)
        warned.append(hospital.watch().warned())
    assert warned[0] == []
    assert any("over" in name for name in warned[-1]), warned


def test_accuracy_is_that_of_the_last_nights_beside_what_was_held_out(hospital):
    hospital.add(ADDED)
    rows = hospital.watch().last()
    (mean,) = [row for row in rows if row["quantity"] == "mean AUROC"]
    assert mean["nights"] == 1
    assert (mean["family"], mean["warned"]) == (ACCURACY, False)
    assert mean["value"] > 0.95
    assert mean["reference"] > 0.95
    assert mean["low"] <= mean["value"] <= mean["high"]


def test_a_night_that_was_killed_is_found_again(hospital, seer, monkeypatch):
    hospital.watch()
    hospital.add(ADDED)

    def kill(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.batches, "commit", kill)
        with pytest.raises(KeyboardInterrupt):
            hospital.watch()
    shown = seer.shown
    found = hospital.watch()
    assert seer.shown == shown  # its table was complete
    assert [len(night.images) for night in found.nights] == [ADDED]


def test_what_came_meanwhile_is_of_the_same_night(hospital, monkeypatch):
    hospital.add(ADDED)
    with monkeypatch.context() as patch:
        patch.setattr(module, "describe_images", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hospital.watch()
    hospital.add(ADDED)
    assert [len(night.images) for night in hospital.watch().nights] == [2 * ADDED]


def test_damaged_tables_are_made_again(hospital):
    hospital.add(ADDED)
    found = hospital.watch()
    folder = series_folder(hospital.workspace, hospital.run)
    for path in (folder / "known.parquet", folder / f"{found.series.fingerprints['night-0001']}.parquet"):
        path.write_bytes(b"damaged")
        os.utime(path)
    again = hospital.watch()
    assert again.digest() == found.digest()
    assert pq.read_table(folder / "known.parquet").num_rows == FIRST


def test_a_damaged_list_of_nights_says_how_to_go_on(hospital):
    hospital.add(ADDED)
    hospital.watch()
    plan = series_folder(hospital.workspace, hospital.run) / "plan.parquet"
    plan.write_text("{}")
    with pytest.raises(DamageError, match="copy it back from a backup, or remove it"):
        hospital.watch()
    for path in (plan, seal_path(plan)):
        path.unlink()
    hospital.add(ADDED)
    assert [len(night.images) for night in hospital.watch().nights] == [2 * ADDED]


def test_a_large_night_is_compared_by_as_many_images_as_the_reference(hospital):
    hospital.add(2 * ADDED)
    found = hospital.watch(replace(QUICK, reference=30))
    assert len(found.nights[0].images) == 2 * ADDED
    (grey,) = [row for row in found.last() if row["quantity"] == "mean grey level"]
    assert grey["images"] == 30


def test_images_that_are_gone_stay_in_their_night(hospital):
    hospital.add(ADDED)
    before = hospital.watch()
    hospital.rows = hospital.rows[:-5]
    hospital.add(0)
    after = hospital.watch()
    assert after.digest() == before.digest()


def test_another_network_begins_anew(hospital):
    hospital.add(ADDED)
    hospital.watch()
    hospital.run = replace(hospital.run, fingerprint="g", version="")
    assert hospital.watch().nights == ()


def test_the_reference_is_limited_and_does_not_hold_what_was_learnt(hospital):
    hospital.add(ADDED)
    tables = hospital.watch(replace(QUICK, reference=30)).series.tables
    assert set(tables[TRAIN]["split"].to_pylist()) == {"train"}
    assert set(tables[HELD_OUT]["split"].to_pylist()) == {"validate", "test"}
    assert (tables[TRAIN].num_rows, tables[HELD_OUT].num_rows) == (30, 30)


def test_a_method_without_zero_shot_follows_inputs_alone(hospital, monkeypatch):
    monkeypatch.setattr("models.saved.load_method", lambda output, weights: tiny.Mute())
    hospital.add(ADDED, darker)
    lines = []
    found = hospital.watch(lines=lines)
    assert any("only inputs are followed" in line for line in lines)
    assert {row["family"] for row in found.last()} == {"inputs"}
    assert "mean grey level" in found.warned()


def test_random_nights_that_cannot_show_a_level_are_refused():
    with pytest.raises(SettingError, match="at least 4000"):
        MonitoringSettings(level=0.001, resamples=999)


def test_squares_of_another_size_are_refused(hospital, monkeypatch):
    hospital.add(ADDED)
    folder = hospital.workspace.folder("shards")
    shards = [folder / shard.file for shard in Manifest.load(folder).shards]
    write_manifest(folder, shards, tiny.WORDS, ("unspecified",), tiny.SIZE, "phantom", {"squash": True})
    with pytest.raises(EvaluationError, match="squares of 8 pixels"):
        hospital.watch()


def test_the_stability_index_is_that_of_its_definition():
    assert stability_index(np.array([50, 50]), np.array([5, 5])) == pytest.approx(0)
    then, now = np.array([50.5, 50.5]) / 101, np.array([9.5, 1.5]) / 11
    wanted = ((now - then) * np.log(now / then)).sum()
    assert stability_index(np.array([50, 50]), np.array([9, 1])) == pytest.approx(wanted)


def test_the_pictures_lie_beside_the_page(hospital, pictures):
    for change in (darker, lambda row: row):
        hospital.add(ADDED, change)
        found = hospital.watch()
    assert found.overview.startswith(b"\x89PNG")
    for end, least in (("overview", 600), ("quantities", 1000)):
        with Image.open(found.page.with_name(f"{found.page.stem}-{end}.png")) as picture:
            assert picture.width > least
    page = found.page.read_text()
    assert page.count('<img src="data:image/png;base64,') == 2
    assert "The last night differs" not in page
    assert "mean grey level" in page
    assert "inputs, 2 nights" not in page  # a night that is warned of is in no window


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium to open the page with")
def test_a_browser_shows_both_pictures_without_scrolling_sideways(hospital, pictures, tmp_path):
    hospital.add(ADDED, darker)
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(hospital.watch().page.as_uri())
        browser.expect("[...document.images].every(one => one.complete && one.naturalWidth > 600)")
        assert browser.evaluate("document.images.length") == 2
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert "mean grey level" in browser.evaluate("document.body.innerText")
    finally:
        browser.close()


def test_the_page_shows_nothing_as_markup(hospital):
    hospital.add(ADDED, lambda row: {**row, "device": "<script>alert(1)</script>"})
    page = hospital.watch().page.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
