from __future__ import annotations

import errno
import os
import shutil

import dagster as dg
import pytest

from assets.workspace import WorkspaceResource
from pipelines.automation import after_ingest, archive_digest, new_studies, nightly
from pipelines.definitions import defs
from store import batches
from store.batches import Plan
from tests.cohorts.faults import fail


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    (root / "files" / "p10" / "p1000" / "s1").mkdir(parents=True)
    (root / "metadata.csv").write_text("one")
    return root


def ask(archive, cursor=None, home=None):
    workspace = WorkspaceResource(home=str(home or f"{archive}-home"), archive_root=str(archive))
    with dg.build_sensor_context(cursor=cursor, resources={"workspace": workspace}) as context:
        return new_studies(context)


def test_the_sensor_asks_once_per_change(archive):
    first = ask(archive)
    assert len(first.run_requests) == 1
    assert isinstance(ask(archive, first.cursor), dg.SkipReason)
    (archive / "files" / "p10" / "p1000" / "s2").mkdir()
    again = ask(archive, first.cursor)
    assert len(again.run_requests) == 1
    assert again.cursor != first.cursor
    shutil.rmtree(archive / "files" / "p10" / "p1000" / "s2")
    assert len(ask(archive, again.cursor).run_requests) == 1


def test_a_state_that_comes_back_is_asked_for_again(archive):
    """Dagster ignores a run key that it has seen."""
    table = archive / "metadata.csv"
    before = table.stat()
    first = ask(archive)
    table.write_text("one and two")
    second = ask(archive, first.cursor)
    table.write_text("one")
    os.utime(table, ns=(before.st_atime_ns, before.st_mtime_ns))
    third = ask(archive, second.cursor)
    assert third.cursor == first.cursor
    assert [request.run_key for request in (*first.run_requests, *third.run_requests)] == [None, None]


def test_object_storage_is_left_to_the_schedule(tmp_path):
    assert "nightly" in ask("memory://archive", home=tmp_path).skip_message


def test_a_changed_table_is_a_change(archive):
    before = archive_digest(archive)
    (archive / "metadata.csv").write_text("one and two")
    assert archive_digest(archive) != before


def test_an_archive_that_is_not_there_yet_is_no_error(tmp_path):
    assert isinstance(ask(tmp_path / "later"), dg.SkipReason)


def test_an_archive_that_is_not_mounted_for_a_while_is_no_change(archive):
    first = ask(archive)
    archive.rename(archive.with_name("elsewhere"))
    archive.mkdir()
    assert "not mounted" in ask(archive, first.cursor).skip_message
    archive.rmdir()
    archive.with_name("elsewhere").rename(archive)
    assert ask(archive, first.cursor).skip_message == "The archive did not change."


def test_a_folder_that_may_not_be_listed_is_a_change_and_no_error(archive, monkeypatch):
    before = archive_digest(archive)
    fail(monkeypatch, os, "scandir", errno.EACCES, archive / "files" / "p10")
    assert archive_digest(archive) != before


def test_a_simulated_archive_is_left_alone(tmp_path):
    simulated = {"workspace": WorkspaceResource(home=str(tmp_path))}
    with dg.build_schedule_context(resources=simulated) as context:
        assert isinstance(nightly(context), dg.SkipReason)
    with dg.build_sensor_context(resources=simulated) as context:
        assert isinstance(new_studies(context), dg.SkipReason)


def test_what_is_asked_for_has_the_settings_of_the_last_run(archive):
    """Otherwise a night would bring every image to the default size."""
    (first,) = ask(archive).run_requests
    assert (first.run_config, first.partition_key) == ({"ops": {}}, "phantom")
    home = f"{archive}-home"
    workspace = WorkspaceResource(home=home, archive_root=str(archive))
    settings = {
        "inventory": {"batch_size": 20, "split": "official", "members": {"b00000": ["s1"]}, "source_rows": 3},
        "images": {"size": 224},
        "triplets": {"radgraph": "/data/graphs.json", "radgraph_digest": "1"},
    }
    for name, values in settings.items():
        batches.commit(workspace.plain().folder(name), Plan((), values))
    (request,) = ask(archive).run_requests
    with dg.build_schedule_context(resources={"workspace": workspace}) as context:
        at_night = nightly(context)
    assert request.run_config == at_night.run_config
    dg.validate_run_config(defs.resolve_job_def("ingest"), request.run_config)
    assert {name: op["config"] for name, op in request.run_config["ops"].items()} == {
        "inventory": {"batch_size": 20, "split": "official"},
        "images": {"size": 224},
        "triplets": {"radgraph": "/data/graphs.json"},
    }


@pytest.fixture
def trained(workspace_of_run, monkeypatch):
    """Two methods with a finished run; convirt's was finished last."""
    for seconds, method in enumerate(("medklip", "convirt")):
        path = workspace_of_run.home_path() / "checkpoints" / method / "mimic_cxr.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        os.utime(path, (seconds, seconds))
    return workspace_of_run


@pytest.fixture
def workspace_of_run(tmp_path):
    return WorkspaceResource(home=str(tmp_path / "home"), cohort="mimic_cxr").plain()


def ask_after_ingest(workspace):
    """What is asked for after a run of ingest with a workspace of its own."""
    given = {"workspace": {"config": {"home": str(workspace.home_path()), "cohort": "mimic_cxr"}}}
    instance = dg.DagsterInstance.ephemeral()
    run = dg.DagsterRun(job_name="ingest", run_config={"resources": given, "ops": {}}, run_id=dg_run_id())
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, "ingest")
    context = dg.build_run_status_sensor_context("after_ingest", event, instance, run)
    return list(after_ingest(context)), given


def dg_run_id():
    return "11111111-1111-4111-8111-111111111111"


def test_after_an_ingestion_the_network_that_was_trained_last_is_asked(trained):
    (request,), given = ask_after_ingest(trained)
    assert (request.job_name, request.partition_key) == ("monitor_convirt", "mimic_cxr")
    assert request.run_config == {"resources": given}
    dg.validate_run_config(defs.resolve_job_def("monitor_convirt"), request.run_config)
    (again,), _ = ask_after_ingest(trained)
    assert request.run_key == again.run_key  # Dagster starts one run for it


def test_a_variable_names_the_methods_that_are_asked(trained, monkeypatch):
    monkeypatch.setenv("RADALIGN_MONITOR", "medklip, convirt")
    monkeypatch.setattr("tracking.runs.trained_run", lambda workspace, name: None)
    requests, _ = ask_after_ingest(trained)
    assert [request.job_name for request in requests] == ["monitor_medklip", "monitor_convirt"]


@pytest.mark.parametrize(("named", "sentence"), [("medclip2", "did you mean"), ("gloria", "has no finished run")])
def test_a_name_that_cannot_be_asked_is_one_sentence(trained, monkeypatch, named, sentence):
    monkeypatch.setenv("RADALIGN_MONITOR", named)
    with pytest.raises(dg.Failure, match=sentence):
        ask_after_ingest(trained)


def test_nothing_is_asked_of_a_pool(trained, monkeypatch):
    monkeypatch.setattr("ingestion.workspace.Workspace.is_pool", True)
    (skipped,), _ = ask_after_ingest(trained)
    assert "is several datasets" in skipped.skip_message


def test_nothing_is_asked_where_nothing_was_trained(workspace_of_run):
    (skipped,), _ = ask_after_ingest(workspace_of_run)
    assert "nothing scores new studies" in skipped.skip_message
