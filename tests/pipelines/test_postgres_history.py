from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from benchmarks.cluster import postgres
from pipelines.history import open_history
from pipelines.history.patience import Events
from pipelines.history.postgres import CREATING
from store.code import ROOT
from store.errors import UserError
from tests.pipelines.instances import history
from tracking.places import postgres as databases
from tracking.places.postgres import Database

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "PostgreSQL is here")

OPEN = "import dagster as dg; print(type(dg.DagsterInstance.get().event_log_storage).__name__)"
VARIABLE = "RADALIGN_DATABASE"


@dg.asset
def number(context) -> int:
    for step in range(10):
        context.log.info(f"step {step}")
    return 1


@dg.asset_check(asset=number)
def is_one() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running(databases=()) as one:
        yield one


@pytest.fixture
def address(server: postgres.Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database for each test, which the environment names."""
    url = server.create(f"d{abs(hash(request.node.name))}")
    monkeypatch.setenv(VARIABLE, url)
    monkeypatch.delenv(databases.ANSWERED, raising=False)
    return url


def opening(address: str, home: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "DAGSTER_HOME": str(ROOT), "RADALIGN_HOME": str(home), VARIABLE: address}
    return subprocess.Popen(
        [sys.executable, "-c", OPEN], cwd=ROOT, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True
    )


def sentence_of_opening() -> str:
    with pytest.raises(UserError) as error:
        open_history()
    sentence = str(error.value)
    assert "\n" not in sentence
    return sentence


def test_processes_that_open_an_empty_database_together_all_succeed(
    address: str, server: postgres.Server, tmp_path: Path
) -> None:
    both = [opening(address, tmp_path / "home") for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["Events\n"] * 2
    assert not (tmp_path / "home" / "dagster" / "history").exists()


def test_the_history_of_a_run_is_in_the_database(address: str, tmp_path: Path) -> None:
    with history(ROOT, tmp_path) as instance:
        dg.materialize([number, is_one], instance=instance)
    with history(ROOT, tmp_path) as instance:
        (run,) = instance.get_runs()
        events = [entry.user_message for entry in instance.all_logs(run.run_id)]
        assert [f"step {step}" for step in range(10)] == [text for text in events if text.startswith("step")]
        assert instance.get_latest_materialization_event(dg.AssetKey("number")) is not None
        assert address.split("@")[0].rpartition(":")[2] not in instance.info_str()


@pytest.mark.parametrize("module", ["pipelines.run", "pipelines.ui"])
def test_a_mistake_from_a_command_is_one_sentence(module: str, server: postgres.Server, tmp_path: Path) -> None:
    wrong = server.url("nothing", "some-secret")
    environment = {**os.environ, "DAGSTER_HOME": str(ROOT), "RADALIGN_HOME": str(tmp_path), VARIABLE: wrong}
    command = [sys.executable, "-m", module, *(["ingest"] if module == "pipelines.run" else [])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    place = f"127.0.0.1:{server.port}"
    assert done.returncode == 2
    assert done.stderr.removeprefix("radalign: ") == (
        f"RADALIGN_DATABASE: PostgreSQL at {place} refuses the password of radalign: correct it.\n"
    )


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("mysql://a:some-secret@host/dagster", "is no address of a PostgreSQL database"),
        ("postgresql://a:some-secret@host:port/dagster", "is no address of a PostgreSQL database"),
        ("postgresql://a:some-secret@127.0.0.1:1/dagster", "does not answer (Connection refused)"),
    ],
)
def test_an_address_that_leads_nowhere(wrong: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "FIRST_SECONDS", 0.1)
    monkeypatch.setenv(VARIABLE, wrong)
    sentence = sentence_of_opening()
    assert expected in sentence
    assert "some-secret" not in sentence


def test_a_database_that_is_not_there(server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, server.url("nothing"))
    assert "has no database nothing: make it (`createdb nothing`)" in sentence_of_opening()


def test_a_process_that_hangs_while_it_makes_the_tables_is_not_waited_for_for_ever(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "TURN_SECONDS", 0.3)
    database = Database.of(address, VARIABLE)
    with database.engine().connect() as other:
        database.take_turn(other, CREATING)
        assert "another process has not finished making the tables of the database d" in sentence_of_opening()


def test_a_database_of_something_else_is_left_alone(address: str, server: postgres.Server) -> None:
    name = address.rpartition("/")[2]
    server.query("create table experiments (i int)", name)
    server.query("create table runs (run_uuid text)", name)
    assert "is not one of Dagster (it has 2 other tables, such as experiments, runs)" in sentence_of_opening()
    assert len(server.query("select * from information_schema.tables where table_schema = 'public'", name)) == 2


@pytest.mark.parametrize(
    ("revision", "expected"),
    [("1ebdd7a9686f", "run `dagster instance migrate` once"), ("0123456789ab", "which is newer than")],
)
def test_tables_of_another_version(revision: str, expected: str, address: str, server: postgres.Server) -> None:
    open_history()
    server.query(f"update alembic_version set version_num = '{revision}'", address.rpartition("/")[2])
    assert expected in sentence_of_opening()


def test_no_driver_is_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "DRIVER", "a_driver_that_is_missing")
    assert sentence_of_opening().endswith("run pip install '.[postgres]' in the checkout.")


def test_runs_go_on_while_the_server_restarts_and_nothing_is_lost_or_doubled(
    address: str, server: postgres.Server, tmp_path: Path
) -> None:
    over = threading.Event()

    def restart() -> None:
        draw = random.Random(7)
        while not over.wait(draw.uniform(0.3, 1.5)):
            server.restart(immediate=draw.random() < 0.7, down=draw.uniform(0, 0.3))

    restarts = threading.Thread(target=restart)
    with history(ROOT, tmp_path) as instance:
        restarts.start()
        try:
            results = [dg.materialize([number, is_one], instance=instance) for _ in range(3)]
        finally:
            over.set()
            restarts.join()
        for result in results:
            assert result.success
            entries = instance.all_logs(result.run_id)
            kinds = [entry.dagster_event_type for entry in entries if entry.is_dagster_event]
            for kind in (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.ASSET_MATERIALIZATION):
                assert kinds.count(kind) == 1
            steps = [entry.user_message for entry in entries if entry.user_message.startswith("step ")]
            assert steps == [f"step {step}" for step in range(10)]
        assert {run.run_id for run in instance.get_runs()} == {result.run_id for result in results}
        checks = instance.event_log_storage.get_asset_check_execution_history(is_one.check_key, limit=100)
        assert len(checks) == len(results)


def test_an_event_whose_commit_was_not_answered_is_there_once(address: str, tmp_path: Path) -> None:
    """The connection breaks between the commit and its answer: the worst moment."""
    with history(ROOT, tmp_path) as instance:
        dg.materialize([number], instance=instance)
        (run,) = instance.get_runs()
        entries = instance.all_logs(run.run_id)
        storage = instance.event_log_storage
        assert isinstance(storage, Events)
        once, broken = storage.once, []

        def breaking(write, is_written, result):
            found = once(write, is_written, result)
            if not broken:
                broken.append(True)
                raise OperationalError("commit", {}, Exception("server closed the connection unexpectedly"))
            return found

        storage.once = breaking  # type: ignore[method-assign]
        later = entries[0]._replace(timestamp=time.time(), user_message="later")
        storage.store_event(later)
        assert [entry.user_message for entry in instance.all_logs(run.run_id)].count("later") == 1
        storage.store_event(later)  # the same words again, asked for anew
        assert [entry.user_message for entry in instance.all_logs(run.run_id)].count("later") == 2


def test_waiting_ends_and_is_said(
    server: postgres.Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database.of("postgresql://a:some-secret@127.0.0.1:1/dagster", VARIABLE)
    monkeypatch.setenv(databases.ANSWERED, str(database))
    monkeypatch.setattr(databases, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(databases, "QUIET_SECONDS", 0.2)
    said: list[str] = []
    with pytest.raises(UserError, match="does not answer"):
        database.patiently(database._ask, said.append)
    (sentence,) = said
    assert sentence.startswith("The database dagster at 127.0.0.1:1 does not answer; waiting for it")
