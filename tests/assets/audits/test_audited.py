"""The asset of an audit: the leading findings as metadata, the page, and one sentence for a mistake."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.audits.audited import AuditConfig, audited_asset
from assets.settings.evaluation import EvaluationSettings
from tests.evaluation.seer import RUN

CONFIG = {"ops": {"audited__medklip": {"config": {"fewest": 5, "resamples": 40, "occluded": 10}}}}


@pytest.fixture(autouse=True)
def finished_run(monkeypatch):
    """The run of the tiny cohort."""
    monkeypatch.setattr("assets.audits.audited.runs_to_evaluate", lambda workspace, method, every: [RUN])


def materialize(cohort, config=CONFIG):
    resources = {"workspace": cohort, "evaluation": EvaluationSettings()}
    result = dg.materialize([audited_asset("medklip")], resources=resources, run_config=config)
    (event,) = result.asset_materializations_for_node("audited__medklip")
    return event, {name: value.value for name, value in event.metadata.items()}


def test_the_asset_shows_what_is_found_and_where_the_page_is(cohort, seer):
    first, metadata = materialize(cohort)
    assert (metadata["found"], metadata["datasets"], metadata["computed"]) == (0, "phantom", 1)
    assert metadata["tested"] > 0
    assert "open_i" in Path(metadata["model card"]).read_text()
    assert Path(metadata["page"]).read_text().startswith("<!doctype html>")
    again, metadata = materialize(cohort)
    assert (metadata["computed"], metadata["found in results"]) == (0, 1)
    assert again.tags["dagster/data_version"] == first.tags["dagster/data_version"]


def test_a_setting_that_cannot_be_is_refused_at_launch():
    with pytest.raises(ValueError, match=r"`operating_point` is .0\.5."):
        AuditConfig(operating_point="0.5")
    with pytest.raises(ValueError, match="`view` is oblique"):
        AuditConfig(view="oblique")
