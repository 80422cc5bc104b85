"""Predictions are linear in what they count, and Dagster's part of them is bounded."""

from __future__ import annotations

import os

import pyarrow.parquet as pq
import pytest
import yaml

from assets.batched import MOST_STEPS
from benchmarks.capacity import archive, measuring, prediction
from benchmarks.capacity.__main__ import CONSTANTS, main
from benchmarks.capacity.prediction import MAPPED, Archive, Line, describe, predict
from benchmarks.capacity.runs import REST, Measured

IMAGES = 12_000


@pytest.fixture
def constants():
    return yaml.safe_load(CONSTANTS.read_text())


def test_a_line_goes_through_what_was_measured_and_never_falls():
    line = Line.through((1_000, 15.0), (10_000, 33.0))
    assert line.at(1_000) == pytest.approx(15.0)
    assert line.at(10_000) == pytest.approx(33.0)
    assert Line.through((1_000, 15.0), (10_000, 14.0)).each == 0
    assert Line.through((1_000, 1.0), (10_000, 20.0)).fixed == 0


def test_what_dagster_holds_is_bounded_and_the_rest_is_linear(constants):
    small, large = (predict(Archive(images, 224, 1.6, 15.5e6, 85.0), constants) for images in (5e6, 50e6))
    assert large["batches"] == 62_500
    for name in ("mapped steps of a stage", "event log, rows", "event log, bytes"):
        assert large[name] == pytest.approx(small[name], rel=0.05)
    assert large["mapped steps of a stage"] <= MOST_STEPS
    for name in ("batches", "tables, bytes", "shards, bytes", "cpu, s", "second run, s"):
        assert large[name] == pytest.approx(10 * small[name], rel=0.05)


def test_an_archive_in_cohorts_has_a_planner_for_each(constants):
    whole, divided = (Archive(50e6, 224, 1.6, 15.5e6, 0.0, cohorts) for cohorts in (1, 5))
    assert divided.batches == whole.batches / 5
    memory = [predict(one, constants)["memory of the planner, bytes"] for one in (whole, divided)]
    assert memory[1] < memory[0] / 3
    assert any(
        line.startswith("batches of each cohort") for line in describe(divided, predict(divided, constants), constants)
    )


def test_the_command_prints_a_plan_and_refuses_what_is_none(capsys):
    assert main(["--images", "50e6", "--format", "jpeg_lossless_sv1", "--cores", "256"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "batches",
        "mapped steps",
        "event log",
        "memory of the planner",
        "h of one core",
        "network",
        "cpu images",
    ):
        assert name in printed
    million = ["--images", "1e6"]
    for wrong in (
        *(["--images", "0"], ["--images", "inf"], ["--images", "nan"], ["--measure", "10"], []),
        *([*million, "--network", "0"], [*million, "--bytes-per-image", "-1"], [*million, "--constants", "nowhere"]),
    ):
        with pytest.raises(SystemExit) as ended:
            main(wrong)
        assert ended.value.code == 2


def test_constants_follow_from_two_runs_and_predict_them(monkeypatch):
    runs = {images: (measured(images), measured(images, again=True)) for images in (1_000, 10_000)}
    monkeypatch.setattr(measuring, "_run", lambda place, images: runs[images])
    monkeypatch.setattr(measuring, "_list", lambda place, images: (float(images), 1_000.0 * images))
    monkeypatch.setattr(measuring, "DECODE", ("echo", '{"rows": [{"source": "jpg", "ours_ms": 12.7}]}'))
    found = measuring.measure(10_000, None)
    rows = measuring.compare(IMAGES, found, measured(IMAGES), measured(IMAGES, again=True))
    assert {name for name, _, _ in rows} >= {"batches", "plans, bytes", "event log, rows", "cpu, s", "second run, s"}
    for name, predicted, value in rows:
        assert predicted == pytest.approx(value, rel=0.02), name
    assert found["decode_ms"] == {"jpg": 12.7}


def measured(images, again=False):
    """A run whose figures are lines."""
    batches = Archive(images, 32, archive.IMAGES_PER_STUDY, 0.0, 0.0).batches
    steps = 0 if again else batches
    return Measured(
        images=images,
        wall=1.0,
        cpu={REST: 8.0, "images": 4.0 + images / 1000, **{name: 1.0 + images / 5000 for name in MAPPED[1:]}},
        memory=500_000_000 + 1_000 * images,
        peaks={"archive": 500_000_000},
        decoder_memory=100_000_000,
        steps=10,
        mapped_steps={name: steps + 2 for name in MAPPED},
        batches=batches,
        events=300 + 10 * steps * len(MAPPED),
        event_log=1_000_000 + 20_000 * steps * len(MAPPED),
        plans=5_000 + 600 * batches,
        tables=400 * images,
        images_table=300 * images,
        shards=2_000 * images,
    )


def test_an_archive_of_links_has_a_name_a_report_and_an_inode_for_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FILES", 3)
    monkeypatch.setattr(archive, "LINKS", 10)
    archive.write_archive(tmp_path, 25)
    archive.write_archive(tmp_path, 40, first=25)
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert len({row["path"] for row in rows}) == 40
    assert len({row["report"] for row in rows}) == len({row["study"] for row in rows}) == 25
    assert all((tmp_path / row["path"]).stat().st_size > 0 for row in rows)
    assert len({os.stat(tmp_path / row["path"]).st_ino for row in rows}) <= 3 * 2
    assert prediction.MAPPED == ["images", "reports", "triplets", "report_labels", "shards"]
