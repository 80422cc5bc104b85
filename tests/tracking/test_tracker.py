from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from store.code import ROOT
from tracking import store
from tracking import tracker as tracking
from tracking.layout import NOTE_TAG, TAGS
from tracking.places import local
from tracking.relay import Relay
from tracking.tracker import RunIdentity

IDENTITY = RunIdentity(
    fingerprint="f" * 20,
    name="medklip",
    parameters={"learning_rate": 0.1, "medklip.width": 8},
    tags={"dagster.run_id": "first"},
    dataset="phantom",
    dataset_source="/somewhere/shards",
    data_version="d" * 64,
)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """MLflow's schema takes seconds to create: once for all tests, by two processes at the same time."""
    home = tmp_path_factory.mktemp("store")
    code = (
        "import sys; from pathlib import Path; from tracking.tracker import create_store; "
        "create_store(Path(sys.argv[1]))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(home)], cwd=ROOT) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    return home


@pytest.fixture
def home(empty_store, tmp_path):
    shutil.copy(empty_store / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def lines(*steps):
    return [{"step": step, "epoch": step / 10, "metrics": {"train/loss": 1 / step}} for step in steps]


def history(tracker, name="loss/train"):
    return [metric.step for metric in tracker.client.get_metric_history(tracker.run_id, name)]


def test_an_interrupted_run_is_continued_not_doubled(home):
    first = tracking.open_run(home, IDENTITY)
    assert first.log_steps(lines(1, 2, 3)) == 3
    first.end("KILLED")
    again = tracking.open_run(home, dataclasses.replace(IDENTITY, tags={"dagster.run_id": "second"}))
    assert again.run_id == first.run_id
    assert again.log_steps(lines(2, 3, 4)) == 1
    assert history(again) == [1, 2, 3, 4]
    run = again.client.get_run(again.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.params == {"learning_rate": "0.1", "medklip.width": "8"}
    assert run.data.tags["dagster.run_id"] == "second"


def test_another_fingerprint_is_another_run(home):
    first = tracking.open_run(home, IDENTITY)
    second = tracking.open_run(home, dataclasses.replace(IDENTITY, fingerprint="0" * 20))
    assert first.run_id != second.run_id


def test_a_run_knows_its_data(home):
    tracker = tracking.open_run(home, IDENTITY)
    (used,) = tracker.client.get_run(tracker.run_id).inputs.dataset_inputs
    assert used.dataset.name == "phantom"
    assert IDENTITY.data_version.startswith(used.dataset.digest)


def test_a_run_knows_its_page(home):
    tracker = tracking.open_run(home, IDENTITY)
    page = f"http://m/#/experiments/{tracking.experiment_id(home)}/runs/{tracker.run_id}"
    assert tracker.address("http://m") == f"{page}?workflowType=machine_learning"


def test_a_request_has_an_identity():
    request = {
        "method": "mgca", "seed": 3, "shards": "/shards", "knowledge": "/k", "output": "/home/checkpoints/mgca/abc",
        "data_version": "v", "method_config": {"dim": 8}, "augmentation": {"window": True}, "epochs": 2.0,
    }  # fmt: skip
    identity = RunIdentity.of_request(request, "phantom", "dagster run")
    assert (identity.fingerprint, identity.name) == ("abc", "mgca phantom seed 3")
    assert identity.tags == {"radalign.method": "mgca", "dagster.run_id": "dagster run"}
    assert identity.parameters == {
        "method": "mgca", "seed": 3, "setting.data_version": "v", "epochs": 2.0, "setting.method_config.dim": 8,
        "setting.augmentation.window": True, "cohort": "phantom",
    }  # fmt: skip


def test_more_metrics_than_one_call_takes(home):
    tracker = tracking.open_run(home, IDENTITY)
    tracker.log_steps(lines(*range(1, 1001)))
    assert history(tracker) == list(range(1, 1001))


def test_files_and_results_join_the_run(home):
    run_id = tracking.open_run(home, IDENTITY).run_id
    tracker = tracking.attach(home, run_id)
    (home / "picture.png").write_bytes(b"png")
    tracker.log_file(home / "picture.png", "pictures")
    tracker.log_summary({"zero_shot_classification/auroc/macro": 0.9, "zero_shot_classification/auroc/Edema": 0.8})
    assert [item.path for item in tracker.client.list_artifacts(run_id, "pictures")] == ["pictures/picture.png"]
    assert tracker.client.get_run(run_id).data.metrics == {"results/auroc_zero_shot": 0.9}
    assert tracker.numbers() == {
        "zero_shot_classification/auroc/Edema": 0.8,
        "zero_shot_classification/auroc/macro": 0.9,
    }


def test_the_leading_number_on_another_dataset_is_a_metric_of_its_own(home):
    tracker = tracking.open_run(home, IDENTITY)
    leading = "rsna_pneumonia/linear_probe/1pct/auroc/macro"
    tracker.log_summary({leading: 0.9, "rsna_pneumonia/linear_probe/1pct/f1/macro": 0.8}, leading)
    found = tracker.client.get_run(tracker.run_id).data.metrics
    assert found == {"downstream/rsna_pneumonia_linear_probe_1pct_auroc": 0.9}


def test_labels_of_any_kind_are_kept_apart(home):
    labels = ["..", ".", "?", "(", "+", "/", "a/b", "a//b", "%", "two\nlines", "", "x" * 300, 'a,"b"', "Edema", "é"]
    numbers = {f"auroc/{label}": index / 3 for index, label in enumerate(labels)}
    tracker = tracking.open_run(home, IDENTITY)
    tracker.log_summary(numbers)
    assert tracker.numbers() == numbers


def test_numbers_add_up_and_newer_ones_replace_older_ones(home, empty_store):
    tracker = tracking.open_run(home, IDENTITY)
    tracker.log_summary({"auroc/a": 0.1, "auroc/b": 0.2})
    tracking.attach(home, tracker.run_id).log_summary({"auroc/b": 0.3, "auroc/c": float("nan")})
    numbers = tracker.numbers()
    assert (numbers["auroc/a"], numbers["auroc/b"], len(numbers)) == (0.1, 0.3, 3)
    [path] = Path(empty_store, "mlartifacts").glob(f"{tracker.run_id}/artifacts/numbers.csv")
    path.write_bytes(b"number,value\nauroc/a,\xff")
    assert tracker.numbers() == {}
    tracker.log_summary({"auroc/d": 0.4})
    assert tracker.numbers() == {"auroc/d": 0.4}


def test_two_steps_add_numbers_to_one_run_at_the_same_time(home):
    trackers = [tracking.open_run(home, IDENTITY) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda index: trackers[index % 2].log_summary({f"auroc/{index}": index}), range(12)))
    assert len(trackers[0].numbers()) == 12


def info(tracker):
    return tracker.client.get_run(tracker.run_id).info


def test_a_finished_run_that_is_opened_again_keeps_its_duration(home):
    first = tracking.open_run(home, IDENTITY)
    first.log_steps(lines(1, 2))
    first.end("FINISHED")
    before = info(first)
    again = tracking.open_run(home, IDENTITY)
    assert info(again).status == "FINISHED"
    again.log_steps(lines(1, 2))
    again.end("FINISHED")
    assert (info(again).start_time, info(again).end_time) == (before.start_time, before.end_time)
    trained = tracking.open_run(home, IDENTITY)
    trained.log_steps(lines(3))
    assert info(trained).status == "RUNNING"
    trained.end("FINISHED")
    assert info(trained).end_time > before.end_time


@pytest.mark.parametrize(("status", "mark"), [("FAILED", "failed: "), ("KILLED", "stopped: ")])
def test_a_run_that_did_not_finish_has_another_name(home, status, mark):
    tracker = tracking.open_run(home, IDENTITY)
    tracker.end(status)
    tracker.end(status)
    assert info(tracker).run_name == f"{mark}medklip"
    again = tracking.open_run(home, IDENTITY)
    assert info(again).run_name == "medklip"
    again.end("FINISHED")
    assert info(again).run_name == "medklip"


def test_the_experiment_of_a_former_version_learns_what_it_holds(home):
    client, experiment = store.connect(home)
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("delete from experiment_tags")
    store.connect(home)
    assert client.get_experiment(experiment).tags == TAGS
    client.set_experiment_tag(experiment, NOTE_TAG, "The user's own.")
    store.connect(home)
    assert client.get_experiment(experiment).tags[NOTE_TAG] == "The user's own."


def test_nothing_is_told_to_anybody():
    from mlflow.telemetry.utils import MLFLOW_DISABLE_TELEMETRY

    code = "import tracking; from mlflow.telemetry import get_telemetry_client as client; print(client())"
    watched = {name: value for name, value in os.environ.items() if name not in ("CI", MLFLOW_DISABLE_TELEMETRY.name)}
    environment = {name: value for name, value in watched.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = str(ROOT)
    found = subprocess.run([sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    assert found.stdout == "None\n", found.stderr


def text(*steps):
    return "".join(json.dumps(line) + "\n" for line in lines(*steps)).encode()


def read_steps(tail):
    return [line["step"] for line in tail.read()]


def test_only_complete_lines_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = tracking.Tail(path)
    assert tail.read() == []
    path.write_bytes(text(1) + text(2)[:8])
    assert read_steps(tail) == [1]
    with path.open("ab") as file:
        file.write(text(2)[8:])
    assert read_steps(tail) == [2]
    assert tail.read() == []


@pytest.mark.parametrize("longer", [False, True])
def test_a_replaced_file_is_read_anew(tmp_path, longer):
    """A resumed run goes back to its checkpoint and may have grown past the old end before anybody looks."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text(10, 20))
    tail = tracking.Tail(path)
    tail.read()
    steps = [10, 15, 1234567] if longer else [10]
    (tmp_path / "new").write_bytes(text(*steps))
    (tmp_path / "new").replace(path)
    assert read_steps(tail) == steps


@pytest.mark.parametrize(
    "line",
    [
        b"not json", b"\xff\xfe\x00", b"[]", b"7", b'{"step": 2}', b'{"step": "2", "epoch": 0.1, "metrics": {}}',
        b'{"step": 2, "epoch": 0.1, "metrics": {"a": "b"}}', b'{"step": 2, "epoch": null, "metrics": {}}',
        b'{"step": 99999999999999999999, "epoch": 0.1, "metrics": {}}', b"[" * 100_000,
        b'{"step": 2, "epoch": 0.1, "metrics": {"train\\u0000loss": 1.0}}',
    ],
)  # fmt: skip
def test_damaged_lines_are_left_out_and_said(tmp_path, line):
    path, said = tmp_path / "metrics.jsonl", []
    path.write_bytes(text(1) + line + b"\n" + text(3))
    assert read_steps(tracking.Tail(path, said.append)) == [1, 3]
    assert said == [f"{path} has 1 damaged lines, which are left out."]


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_the_relay_forwards_everything_and_says_how_it_ended(home, error, status):
    path, said, order = home / "metrics.jsonl", [], []
    relay = Relay(home, IDENTITY, path, said.append, lambda: order.append(len(tracking.running(home))))
    with pytest.raises(error) if error else contextlib.nullcontext(), relay:
        path.write_text('{"step": 1, "epoch": 0.5, "metrics": {"train/loss": 0.25, "data_wait": 0.01}}\n')
        if error:
            raise error
    assert history(relay.tracker) == [1]
    assert relay.tracker.client.get_run(relay.tracker.run_id).info.status == status
    assert said == ["step 1, epoch 0.5, loss 0.25, data_wait 0.01"]
    assert order == [0]  # before the run was opened


def test_every_epoch_is_reported_once(home):
    path, said = home / "metrics.jsonl", []
    relay = Relay(home, IDENTITY, path, said.append)
    relay._tracker = tracking.open_run(home, IDENTITY)
    epochs = (0.5, 0.9, 1.0, 1.5, 2.1)
    for step, epoch in enumerate(epochs, 1):
        with path.open("a") as file:
            file.write(f'{{"step": {step}, "epoch": {epoch}, "metrics": {{"train/loss": 1.0}}}}\n')
        relay._forward(last=False)
    assert [line.split(",")[1] for line in said] == [" epoch 1.0", " epoch 2.1"]


def damage_half(path):
    """Half of it, and then nothing."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_pages(path):
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = os.urandom(len(content) // 2 - 4096)
    path.write_bytes(content)


DAMAGE = {
    "truncated": damage_half,
    "garbage": lambda path: path.write_bytes(os.urandom(5000)),
    "pages": damage_pages,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_made_anew_and_the_run_is_recorded_again(home, damage):
    path, said = home / "metrics.jsonl", []
    path.write_bytes(text(1, 2, 3))
    with Relay(home, IDENTITY, path, said.append) as relay:
        pass
    before = relay.tracker
    DAMAGE[damage](home / "mlflow.db")
    said.clear()
    assert tracking.attach(home, before.run_id, IDENTITY.fingerprint, said.append) is None  # an evaluation goes on
    aside = damage not in ("emptied", "deleted")
    assert (home / "mlflow.db.damaged").exists() == aside
    assert ["is damaged; it is set aside as mlflow.db.damaged" in said[0]] == [aside]
    assert "has no record of the run" in said[-1]
    with Relay(home, IDENTITY, path, said.append) as relay:  # the same command
        pass
    assert relay.tracker.run_id != before.run_id
    assert history(relay.tracker) == [1, 2, 3]
    again = tracking.attach(home, before.run_id, IDENTITY.fingerprint)  # by the fingerprint
    assert again.run_id == relay.tracker.run_id


def trained_beside(home):
    """What a training and an evaluation say that go on with a store as it is; returns the relay too."""
    said, trained = [], []
    (home / "metrics.jsonl").write_bytes(text(1))
    with Relay(home, IDENTITY, home / "metrics.jsonl", print, warn=said.append) as relay:
        trained.append(True)
    assert trained
    assert tracking.attach(home, "0" * 32, warn=said.append) is None
    assert tracking.running(home) == {}
    assert all("\n" not in sentence for sentence in said)
    return said, relay


def test_a_store_of_another_version_is_left_alone(home):
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = 'ffffffffffff'")
    before = (home / "mlflow.db").read_bytes()
    said, relay = trained_beside(home)
    assert "is of another version of MLflow" in said[0]
    assert relay.tracker is None
    assert (home / "mlflow.db").read_bytes() == before


def test_a_store_that_another_process_holds_stops_nothing(home, monkeypatch):
    monkeypatch.setattr(local, "LOCK_SECONDS", 0.1)
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.execute("begin exclusive")
        said, relay = trained_beside(home)
    assert "is held by another process" in said[0]
    assert relay.tracker is None
    assert not (home / "mlflow.db.damaged").exists()
    said, relay = trained_beside(home)  # afterwards
    assert history(relay.tracker) == [1]


@pytest.mark.parametrize("name", ["mlflow.lock", "mlflow.db"])
def test_a_folder_in_the_place_of_a_file_stops_nothing(home, name):
    (home / name).unlink(missing_ok=True)
    (home / name).mkdir()
    said, relay = trained_beside(home)
    assert name in said[0]
    assert relay.tracker is None


def test_what_a_busy_store_does_not_take_is_kept(home, monkeypatch):
    said = []
    tracker = tracking.open_run(home, IDENTITY, said.append)
    call, held = tracker.client.log_batch, [True]

    def busy(*given, **named):
        if held:
            raise MlflowException("(sqlite3.OperationalError) database is locked")
        call(*given, **named)

    monkeypatch.setattr(tracker.client, "log_batch", busy)
    tracker.log_steps(lines(1))
    tracker.log_summary({"auprc": 0.25})
    assert tracker.numbers() == {}
    held.clear()
    tracker.end("FINISHED")
    assert len(said) == 1
    assert history(tracker) == [1]
    assert tracker.numbers() == {"auprc": 0.25}


def test_what_the_store_refuses_is_said_once_and_stops_nothing(home):
    said = []
    tracker = tracking.open_run(home, IDENTITY, said.append)
    for _ in range(2):
        tracker.tag({"a\0b": 0.5})
    tracker.log_file(home / "nothing.png", "pictures")
    tracker.log_summary({"auroc": 0.5})
    assert len(said) == 2
    assert tracker.numbers() == {"auroc": 0.5}


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_what_was_deleted_in_the_browser_is_recorded_again(home, what):
    first = tracking.open_run(home, IDENTITY)
    if what == "run":
        first.client.delete_run(first.run_id)
    else:
        first.client.delete_experiment(tracking.experiment_id(home))
    assert tracking.attach(home, first.run_id, warn=print) is None or what == "experiment"
    second = tracking.open_run(home, IDENTITY)
    second.log_summary({"auroc": 0.5})
    assert second.numbers() == {"auroc": 0.5}


def test_the_last_line_is_said_once_whenever_it_was_read(home, tmp_path, monkeypatch):
    """Also where it was read before the training ended, in an epoch that has a line already."""
    monkeypatch.setattr("tracking.relay.POLL_SECONDS", 0.01)
    metrics, said = tmp_path / "metrics.jsonl", []

    def write_and_wait(step):
        with metrics.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines(step))
        deadline = time.monotonic() + 60
        while relay.tracker is None or step not in history(relay.tracker):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with Relay(home, IDENTITY, metrics, said.append) as relay:
        for step in (11, 12):
            write_and_wait(step)
    assert [line.partition(",")[0] for line in said] == ["step 11", "step 12"]
