"""What the launchpad says of a launcher is checked before anything starts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from assets.networks.launchers.common import LauncherError
from assets.networks.launchers.launch import expect_launcher
from assets.networks.launchers.settings import OneHost, RaySettings, SlurmSettings
from assets.networks.pretrained import pretraining_config
from models.run_files import TRAINED
from store.code import ROOT
from store.errors import SettingError
from training.config import TrainingConfig
from training.errors import TrainingError


def test_a_batch_that_the_machines_cannot_divide_is_refused(tmp_path):
    training = TrainingConfig("chexzero", batch_size=8)
    with pytest.raises(TrainingError, match="must be a multiple of processes times micro_batches, 6 x 1"):
        expect_launcher(SlurmSettings(nodes=3, processes=2), training, tmp_path)
    expect_launcher(OneHost(processes=4), training, tmp_path)


def test_a_variable_of_the_training_is_read_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("RADALIGN_HEARTBEAT_SECONDS", "ten")
    with pytest.raises(SettingError, match="RADALIGN_HEARTBEAT_SECONDS is 'ten'"):
        expect_launcher(OneHost(), TrainingConfig("chexzero", batch_size=8), tmp_path)


@pytest.mark.parametrize("settings", [SlurmSettings, RaySettings])
def test_processes_without_a_gpu_of_their_own_are_refused(settings, tmp_path):
    training = TrainingConfig("chexzero", batch_size=8)
    with pytest.raises(LauncherError, match="4 processes on each machine and asks for 2 of its GPUs: set `processes`"):
        expect_launcher(settings(processes=4, gpus_per_node=2), training, tmp_path)


@pytest.mark.parametrize("name", ["MY-VAR", "1A", "", "A B", "Ä"])
def test_what_is_no_name_of_a_variable_is_refused(name, tmp_path):
    training = TrainingConfig("chexzero", batch_size=8)
    with pytest.raises(LauncherError, match=f"`environment` of the launcher slurm has `{name}`, which is no name"):
        expect_launcher(SlurmSettings(environment={name: "x"}), training, tmp_path)


def test_a_run_config_chooses_a_launcher():
    config = pretraining_config("chexzero")
    assert isinstance(config().launcher, OneHost)
    assert config(launcher={"slurm": {"nodes": 2}}).launcher.nodes == 2


def test_launchers_are_imported_when_they_are_chosen():
    """Loading the definitions must not import Ray or Kubernetes."""
    code = (
        "import sys, assets.networks.pretrained; print([n for n in ('ray', 'kubernetes', 'torch') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_several_processes_of_one_machine_end_in_the_weights_of_one(training, tmp_path):
    """The default launcher, as with a machine of several GPUs."""
    training.config = replace(training.config, max_steps=20)
    result = training.launch(subprocess={"processes": 2})
    assert result.success
    assert training.result()["processes"] == 2
    ours = load_file(training.output / TRAINED)
    alone = load_file(training.undisturbed(tmp_path / "alone") / TRAINED)
    assert ours.keys() == alone.keys()
    for name, weights in alone.items():
        torch.testing.assert_close(ours[name], weights, rtol=0, atol=1e-5)
