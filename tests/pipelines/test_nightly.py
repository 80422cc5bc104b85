"""Two nights of a growing archive, as the sensors see them; the daemon that asks them is in `benchmarks.nightly`."""

from __future__ import annotations

import dagster as dg
import pytest

import radalign
from assets.workspace import WorkspaceResource
from benchmarks.nightly import COHORT, simulate, write_archive
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from pipelines.automation import after_ingest, new_studies
from pipelines.definitions import defs
from tests.radalign.conftest import NETWORK, SIZE
from tracking.runs import TrainedRun, remember, trained_run

STUDIES, ADDED = 100, 20
METHOD = "convirt"
QUIET = {"console": {"config": {"log_level": "ERROR"}}}


class Hospital:
    """An archive, its home, and what Dagster knows of both."""

    def __init__(self, folder):
        self.archive, self.studies, self.cursor = folder / "archive", STUDIES, None
        self.resource = WorkspaceResource(home=str(folder / "home"), cohort=COHORT, archive_root=str(self.archive))
        self.instance = dg.DagsterInstance.ephemeral()
        write_archive(self.archive, simulate(STUDIES, range(0)))
        self.train()

    def train(self):
        """Once, on what is there."""
        place = self.resource.plain()
        settings = IngestionSettings(inventory=InventorySettings(batch_size=50), images=ImagesSettings(size=SIZE))
        state = update(place, settings, progress=False)
        folder = place.home_path() / "run"
        few = {"input_size": SIZE, "max_steps": 3, "batch_size": 8, "threads": 1}
        network = {**NETWORK, "frozen_layers": 0}
        radalign.pretrain(METHOD, place.folder("shards"), folder, method_config=network, **few)
        remember(place, TrainedRun.of_folder(folder, place.home_path(), version=state["version"]))
        self.run = trained_run(place, METHOD)

    def grow(self, darker):
        """Twenty studies come."""
        known, self.studies = self.studies, self.studies + ADDED
        write_archive(self.archive, simulate(self.studies, range(known, self.studies) if darker else range(0)))

    def night(self):
        """What the sensors ask for is run; the check of the night and its metadata, or None where nobody asks."""
        given = {"cursor": self.cursor, "instance": self.instance, "resources": {"workspace": self.resource}}
        with dg.build_sensor_context(**given) as context:
            asked = new_studies(context)
        if isinstance(asked, dg.SkipReason):
            return None
        self.cursor = asked.cursor
        (request,) = asked.run_requests
        ingested = self.execute("ingest", request)
        (request,) = self.ask_after(ingested)
        done = self.execute(request.job_name, request)
        (event,) = done.asset_materializations_for_node(f"monitored__{METHOD}")
        (check,) = done.get_asset_check_evaluations()
        return check, {name: value.value for name, value in event.metadata.items()}

    def ask_after(self, ingested):
        run = self.instance.get_run_by_id(ingested.run_id)
        event = ingested.get_run_success_event()
        return list(after_ingest(dg.build_run_status_sensor_context("after_ingest", event, self.instance, run)))

    def execute(self, job, request):
        given = {"resources": {"workspace": {"config": self.resource.model_dump(include=WORKSPACE)}}}
        config = {**given, **request.run_config, "loggers": QUIET}
        return defs.resolve_job_def(job).execute_in_process(
            run_config=config, instance=self.instance, partition_key=request.partition_key, tags=dict(request.tags)
        )


WORKSPACE = {"home", "cohort", "archive_root"}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """After the training; the tests below go on from there, in their order."""
    return Hospital(tmp_path_factory.mktemp("hospital"))


def test_a_usual_night_is_scored_and_not_warned_of(hospital):
    hospital.grow(darker=False)
    check, metadata = hospital.night()
    assert check.passed, check.description
    assert metadata["nights"] == 1
    assert 15 <= metadata["images of the night"] <= ADDED  # some studies have no report that can be used
    assert metadata["mean grey level"] > 0


def test_where_nothing_came_nobody_asks(hospital):
    assert hospital.night() is None


def test_a_night_with_darker_pictures_is_warned_of(hospital):
    hospital.grow(darker=True)
    check, metadata = hospital.night()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "mean grey level" in check.description
    assert metadata["nights"] == 2


def test_nothing_was_trained(hospital):
    assert trained_run(hospital.resource.plain(), METHOD) == hospital.run
    assert {run.job_name for run in hospital.instance.get_runs()} == {"ingest", f"monitor_{METHOD}"}
