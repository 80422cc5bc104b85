from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import sys

import pytest

from store.code import ROOT
from tracking import tracker as tracking
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


def history(tracker, name="train/loss"):
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


def test_a_request_has_an_identity():
    request = {
        "method": "mgca", "seed": 3, "shards": "/shards", "knowledge": "/k", "output": "/home/checkpoints/mgca/abc",
        "data_version": "v", "method_config": {"dim": 8}, "augmentation": {"window": True}, "epochs": 2.0,
    }  # fmt: skip
    identity = RunIdentity.of_request(request, "phantom", "dagster run")
    assert (identity.fingerprint, identity.name) == ("abc", "mgca phantom seed 3")
    assert identity.tags == {"radalign.method": "mgca", "dagster.run_id": "dagster run"}
    assert identity.parameters == {
        "method": "mgca", "seed": 3, "data_version": "v", "epochs": 2.0, "method_config.dim": 8,
        "augmentation.window": True, "cohort": "phantom",
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
    tracker.log_summary({"auroc/macro": 0.9})
    assert [item.path for item in tracker.client.list_artifacts(run_id, "pictures")] == ["pictures/picture.png"]
    assert tracker.client.get_run(run_id).data.metrics["auroc/macro"] == 0.9


def test_only_complete_lines_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = tracking.Tail(path)
    assert tail.read() == []
    path.write_bytes(b'{"step": 1}\n{"step"')
    assert tail.read() == [{"step": 1}]
    with path.open("ab") as file:
        file.write(b": 2}\n")
    assert tail.read() == [{"step": 2}]
    assert tail.read() == []


@pytest.mark.parametrize("longer", [False, True])
def test_a_replaced_file_is_read_anew(tmp_path, longer):
    """A resumed run goes back to its checkpoint and may have grown past the old end before anybody looks."""
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 10}\n{"step": 20}\n')
    tail = tracking.Tail(path)
    tail.read()
    steps = [10, 15, 1234567] if longer else [10]
    (tmp_path / "new").write_text("".join(f'{{"step": {step}}}\n' for step in steps))
    (tmp_path / "new").replace(path)
    assert tail.read() == [{"step": step} for step in steps]


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


def test_broken_bookkeeping_stops_no_training_but_is_not_silent(home):
    (home / "metrics.jsonl").write_text("not json\n")
    trained = []
    with (
        pytest.raises(ValueError, match="Expecting value"),
        Relay(home, IDENTITY, home / "metrics.jsonl", print),
    ):
        trained.append(True)
    assert trained
