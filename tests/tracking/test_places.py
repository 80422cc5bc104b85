"""MLflow records in a PostgreSQL database or on a server that RADALIGN_MLFLOW names."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.utils.search_utils import SearchUtils

from benchmarks.cluster import postgres
from store.code import ROOT
from tracking import places, store
from tracking import tracker as tracking
from tracking.errors import TrackingError
from tracking.places import pages_address
from tracking.places import postgres as databases
from tracking.places.database import revisions
from tracking.tracker import RunIdentity

CREATE = (
    "import sys; from pathlib import Path; from tracking.tracker import create_store; create_store(Path(sys.argv[1]))"
)
NEEDS_POSTGRES = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing() or "PostgreSQL is here")
IDENTITY = RunIdentity(
    fingerprint="f" * 20,
    name="medklip",
    parameters={"learning_rate": 0.1},
    tags={"dagster.run_id": "first"},
    dataset="phantom",
    dataset_source="/somewhere/shards",
    data_version="d" * 64,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """The tables of MLflow are made by two processes with homes of their own, as on two machines."""
    with postgres.running(databases=("mlflow",)) as one:
        environment = {**os.environ, places.VARIABLE: one.url("mlflow"), "RADALIGN_HOME": ""}
        both = [
            subprocess.Popen(
                [sys.executable, "-c", CREATE, str(tmp_path_factory.mktemp("home"))], cwd=ROOT, env=environment
            )
            for _ in range(2)
        ]
        assert [process.wait() for process in both] == [0, 0]
        assert one.query("select count(*) from experiments where name = 'radalign'", "mlflow") == [["1"]]
        yield one


@pytest.fixture
def recording(server: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> postgres.Server:
    monkeypatch.setenv(places.VARIABLE, server.url("mlflow"))
    monkeypatch.setenv(places.ARTIFACTS_VARIABLE, (tmp_path / "artifacts").as_uri())
    return server


def lines(*steps: int) -> list:
    return [{"step": step, "epoch": step / 10, "metrics": {"train/loss": 1 / step}} for step in steps]


def steps(tracker: tracking.Tracker) -> list[int]:
    return [metric.step for metric in tracker.client.get_metric_history(tracker.run_id, "loss/train")]


def sentence(home: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(places.VARIABLE, address)
    monkeypatch.setattr(databases, "FIRST_SECONDS", 0.1)
    monkeypatch.delenv(databases.ANSWERED, raising=False)
    with pytest.raises(TrackingError) as error:
        store.expect_store(home)
    said = str(error.value)
    assert "some-secret" not in said
    assert "\n" not in said
    return said


@NEEDS_POSTGRES
def test_homes_record_in_one_database_and_keep_apart(recording: postgres.Server, tmp_path: Path) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
        store.expect_store(home)
    first, second = (tracking.open_run(home, IDENTITY) for home in homes)
    assert first.run_id != second.run_id
    assert list(tracking.running(homes[0])) == [first.run_id]
    first.log_steps(lines(1, 2))
    again = tracking.open_run(homes[0], dataclasses.replace(IDENTITY, tags={"dagster.run_id": "second"}))
    assert again.run_id == first.run_id
    again.log_steps(lines(1, 2, 3))
    again.log_summary({"auprc": 0.5})
    again.end("FINISHED")
    assert steps(again) == [1, 2, 3]
    assert again.numbers() == {"auprc": 0.5}
    assert tracking.running(homes[0]) == {}
    assert not (homes[0] / "mlflow.db").exists()


@NEEDS_POSTGRES
def test_a_restart_of_the_server_loses_and_doubles_nothing(
    recording: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tracker = tracking.open_run(tmp_path, dataclasses.replace(IDENTITY, fingerprint="a" * 20), said.append)
    tracker.log_steps(lines(1))
    recording.restart(immediate=True)
    tracker.log_steps(lines(1, 2))
    recording.stop(immediate=True)
    tracker.log_steps(lines(2, 3))
    tracker.log_steps(lines(4))
    back = threading.Timer(1.0, recording.start)
    back.start()
    tracker.end("FINISHED")  # waits for the server
    back.join()
    assert steps(tracker) == [1, 2, 3, 4]
    assert tracker.client.get_run(tracker.run_id).info.status == "FINISHED"
    assert len(said) == 1
    assert "PostgreSQL at 127.0.0.1" in said[0]
    assert recording.password not in said[0]


@NEEDS_POSTGRES
def test_databases_that_cannot_be_used(
    recording: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"127.0.0.1:{recording.port}"
    wrong = recording.url("mlflow", "some-secret")
    assert sentence(tmp_path, wrong, monkeypatch) == (
        f"RADALIGN_MLFLOW: PostgreSQL at {place} refuses the password of radalign: correct it."
    )
    assert "has no database nothing" in sentence(tmp_path, recording.url("nothing"), monkeypatch)
    other = recording.create("other")
    recording.query("create table event_logs (i int)", "other")
    assert "is not one of MLflow (it has 1 other tables, such as event_logs)" in sentence(tmp_path, other, monkeypatch)


@NEEDS_POSTGRES
def test_tables_of_another_version(recording: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, newest = revisions()
    [[now]] = recording.query("select version_num from alembic_version", "mlflow")
    assert newest == {now}
    older = next(iter(known - newest))
    try:
        for version, remedy in (
            (older, "run `mlflow db upgrade` once"),
            ("0123456789ab", "install the version that made"),
        ):
            recording.query(f"update alembic_version set version_num = '{version}'", "mlflow")
            assert remedy in sentence(tmp_path, recording.url("mlflow"), monkeypatch)
    finally:
        recording.query(f"update alembic_version set version_num = '{now}'", "mlflow")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("file:///tmp/mlruns", "is neither the address of an MLflow server"),
        ("sqlite:///mlflow.db", "is neither the address of an MLflow server"),
        ("http://somebody:some-secret@127.0.0.1:1", "holds a name or a password"),
        ("http://127.0.0.1:1", "the MLflow server http://127.0.0.1:1 does not answer"),
        ("http://", "is no address of an MLflow server"),
        ("postgresql://a:some-secret@127.0.0.1:1/mlflow", "does not answer (Connection refused)"),
    ],
)
def test_addresses_that_lead_nowhere(
    address: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected in sentence(tmp_path, address, monkeypatch)


@pytest.mark.parametrize("password", ["pass@word", "pass@wo/rd"])
def test_the_rest_of_a_password_is_not_taken_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    said = sentence(tmp_path, f"postgresql://somebody:{password}@host:5432/mlflow", monkeypatch)
    assert said == "RADALIGN_MLFLOW has an @ in the name or the password: write it as %40, and / as %2F."
    database = databases.Database.of("postgresql://somebody:pass%40wo%2Frd@host:5432/mlflow", "RADALIGN_MLFLOW")
    assert (database.url.password, str(database)) == ("pass@wo/rd", "mlflow at host:5432")


@contextmanager
def answering(status: int, body: bytes, leads_to: str = "") -> Iterator[tuple[str, list]]:
    """A server that always answers the same, maybe to go elsewhere; gives its address and the headers it was sent."""
    asked: list = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(dict(self.headers))
            self.send_response(status)
            if leads_to:
                self.send_header("Location", leads_to)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *given: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"<html>a page</html>", "is no MLflow"),
        (404, b"", "answers with status 404, so no MLflow is there"),
        (401, b"", "refuses us: set MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_servers_that_are_none(
    status: int, body: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, body) as (address, _):
        assert expected in sentence(tmp_path, address, monkeypatch)


def test_a_server_is_asked_as_mlflow_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "some-secret")
    with answering(200, b"3.17.2") as (address, asked):
        monkeypatch.setenv(places.VARIABLE, address)
        store.expect_store(tmp_path)
        assert asked[0]["Authorization"].startswith("Basic ")
        assert pages_address() == address


def test_a_token_that_no_request_can_hold_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "some-secret\n")
    said = sentence(tmp_path, "http://127.0.0.1:1", monkeypatch)
    assert said.startswith("MLFLOW_TRACKING_TOKEN has a line break")


def test_a_server_that_another_one_leads_to_is_not_told_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "some-secret")
    with answering(200, b"3.17.2") as (other, asked), answering(302, b"", f"{other}/version") as (address, first):
        monkeypatch.setenv(places.VARIABLE, address)
        store.expect_store(tmp_path)
        assert first[0]["Authorization"] == "Bearer some-secret"
        assert "Authorization" not in asked[0]


@pytest.mark.parametrize("name", ["home", "O'Hara's home"])
def test_the_filter_for_runs_of_a_home_is_one_that_mlflow_understands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.VARIABLE, "http://127.0.0.1:1")
    (found,) = SearchUtils.parse_search_filter(store.home_filter(tmp_path / name).removeprefix(" and "))
    assert found == {"type": "tag", "key": store.HOME_TAG, "comparator": "=", "value": str(tmp_path / name)}


def test_links_lead_to_the_pages_of_make_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "postgresql://a:some-secret@host/mlflow")
    monkeypatch.setenv(places.PORT_VARIABLE, "5100")
    assert pages_address() == "http://127.0.0.1:5100"
