"""A tiny training that the asset `pretrained/chexzero` is asked for, whatever launches it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import dagster as dg
import pytest

from assets.networks import pretrained
from assets.networks.pretrained import pretrained_asset
from assets.workspace import WorkspaceResource
from tests.models.tiny import TINY
from tests.training.conftest import shard_rows, write_shards
from training.config import TrainingConfig
from training.loop import train

METHOD = "chexzero"
STEPS = 150


class Training:
    """What is trained, and what the asset makes of it."""

    def __init__(self, config: TrainingConfig, workspace: WorkspaceResource) -> None:
        self.config, self.workspace = config, workspace
        self.output = Path(config.output)
        self.instance = dg.DagsterInstance.ephemeral()

    def launch(self, **launcher: object) -> dg.ExecuteInProcessResult:
        """Materialise the asset with this launcher."""
        resources = {"workspace": self.workspace, "pipes": dg.PipesSubprocessClient(termination_timeout_seconds=60)}
        asset = pretrained_asset(METHOD)
        config = {"ops": {f"pretrained__{METHOD}": {"config": {"launcher": launcher}}}}
        return dg.materialize(
            [asset], resources=resources, run_config=config, raise_on_error=False, instance=self.instance
        )

    def said(self) -> list[str]:
        """The messages in the log of all runs."""
        runs = [run.run_id for run in self.instance.get_runs()]
        return [entry.user_message for run in runs for entry in self.instance.all_logs(run)]

    def await_step(self, step: int, seconds: float = 240) -> None:
        """Wait until the training has written a line about a step so late."""
        path = self.output / "metrics.jsonl"
        _await(
            lambda: path.exists() and any(one["step"] >= step for one in _lines(path)),
            seconds,
            f"step {step} was not reached",
        )

    def await_said(self, text: str, seconds: float = 60) -> None:
        """Wait until a message in the log of a run has `text`: the lines of a training come home at intervals."""
        _await(lambda: any(text in line for line in self.said()), seconds, f"nobody has said {text!r}")

    def result(self) -> dict:
        """What the run wrote last."""
        return json.loads((self.output / "result.json").read_text())

    def undisturbed(self, folder: Path) -> Path:
        """The folder of the same training in this process."""
        train(replace(self.config, output=str(folder)))
        return folder


def _await(happened: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


@pytest.fixture(scope="session")
def launched_shards(tmp_path_factory) -> Path:
    """The shards, beside those of other tests."""
    return write_shards(tmp_path_factory.mktemp("launched"), shard_rows(32))


@pytest.fixture
def training(launched_shards, tmp_path, monkeypatch) -> Training:
    """A training of some seconds whose only checkpoints are those that somebody asks for."""
    home = tmp_path / "home"
    config = TrainingConfig(
        METHOD,
        str(launched_shards),
        str(launched_shards / "knowledge.parquet"),
        str(home / "checkpoints" / METHOD / "a"),
        method_config={**TINY[METHOD], "sections": "findings"}, batch_size=8, max_steps=STEPS, optimizer="sgd",
        learning_rate=0.01, precision="fp32", checkpoint_every=1000, log_every=1, threads=1,
    )  # fmt: skip
    about = {"phantom": {"data_version": "v", "rows": {}, "left_out": {}}}
    for name, stand_in in {
        "pinned": lambda plain, *_: plain,
        "load_manifest": lambda folder: None,
        "origins_of": lambda manifest: about,
        "expect_reports": lambda plain: None,
        "training_request": lambda *_: asdict(training.config),
    }.items():
        monkeypatch.setattr(pretrained, name, stand_in)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    training = Training(config, WorkspaceResource(home=str(home), cohort="phantom", preset="demo"))
    return training
