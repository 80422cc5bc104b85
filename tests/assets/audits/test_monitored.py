"""The asset of new studies: what Dagster is told of a night."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from assets.audits.monitored import NO_DRIFT, MonitoringConfig, monitored_asset
from assets.settings.evaluation import EvaluationSettings
from ingestion.versions import take_version
from store.digests import fingerprint
from tests.evaluation import seer as tiny
from tests.evaluation.seer import RUN

FIRST, ADDED = 160, 20


@pytest.fixture
def hospital(workspace, seer, monkeypatch):
    """The beginning of the tiny cohort, and the network that was trained on it."""
    place = workspace.plain()
    tiny.write_run(place)
    add(workspace, FIRST)
    run = replace(RUN, version=take_version(place))
    monkeypatch.setattr("assets.audits.monitored.trained_run", lambda workspace, name: run)
    return workspace


def add(workspace, count, darker=False):
    """Let the archive have so many images; the last ones are darker."""
    rows = [tiny.image(index) for index in range(count)]
    for row in rows[FIRST:] if darker else ():
        row["pixels"] = (np.frombuffer(row["pixels"], np.uint8) // 4).tobytes()
    tiny.write_tables(workspace.plain(), rows, fingerprint([row["pixels"].hex() for row in rows]))


def materialize(workspace):
    """The check, and the asset's metadata as plain values."""
    config = dg.RunConfig(ops={"monitored__medklip": MonitoringConfig(resamples=1999)})
    resources = {"workspace": workspace, "evaluation": EvaluationSettings()}
    result = dg.materialize([monitored_asset("medklip")], resources=resources, run_config=config)
    (event,) = result.asset_materializations_for_node("monitored__medklip")
    (check,) = result.get_asset_check_evaluations()
    return check, {name: value.value for name, value in event.metadata.items()}, event


def test_before_the_first_night_there_is_nothing_to_warn_of(hospital):
    check, metadata, _ = materialize(hospital)
    assert (check.check_name, check.passed) == (NO_DRIFT, True)
    assert (metadata["nights"], metadata["images of the night"]) == (0, 0)
    assert "drift" not in metadata


def test_a_night_has_numbers_to_plot_a_picture_and_a_page(hospital):
    add(hospital, FIRST + ADDED)
    check, metadata, event = materialize(hospital)
    assert check.passed
    assert (metadata["nights"], metadata["images of the night"], metadata["dagster/row_count"]) == (1, ADDED, ADDED)
    assert metadata["drift"].startswith("![drift](data:image/")
    assert 0 < metadata["farthest input / limit"] < 1
    assert 0 < metadata["mean grey level"] < 60
    assert metadata["mean AUROC"] > 0.9
    assert metadata["page"] == str(hospital.plain().home_path() / "results/monitoring/phantom-medklip.html")
    _, again, same = materialize(hospital)
    assert again["tables computed"] == 0
    assert same.tags["dagster/data_version"] == event.tags["dagster/data_version"]


def test_a_night_that_differs_warns_and_fails_nothing(hospital):
    add(hospital, FIRST + ADDED, darker=True)
    check, metadata, _ = materialize(hospital)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "mean grey level" in check.description
    assert metadata["farthest input / limit"] >= 1
