"""One training writes into a folder: who has lost it writes nothing more."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import FAILURE, FolderBusyError, TrainingError
from training.loop import train
from training.state.checkpoint import complete_checkpoints
from training.state.folder import LOCK, own_folder


def test_a_second_training_is_refused(tmp_path):
    with (
        own_folder(tmp_path),
        pytest.raises(FolderBusyError, match="another process is training in"),
        own_folder(tmp_path),
    ):
        pytest.fail("it is another one's")


def test_who_was_cut_off_from_the_disk_writes_no_checkpoint(config):
    """A server that gives the lock to another host changes what the file says, not what the old holder sees of it."""
    lock = Path(config.output) / LOCK

    def take_over(done: int, _: int) -> None:
        if done == 6:
            lock.write_text("another host")

    with pytest.raises(TrainingError, match="another training has taken over"):
        train(replace(config, checkpoint_every=4), take_over)
    assert [path.name for path in complete_checkpoints(Path(config.output))] == ["step-00000004"]


def test_a_mistake_is_said_again_where_torchrun_starts_again(tmp_path, monkeypatch):
    (tmp_path / FAILURE).write_text("the batch is too large\n")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    with pytest.raises(TrainingError, match=r"^the batch is too large$"), own_folder(tmp_path):
        pytest.fail("it would fail again")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    with own_folder(tmp_path) as folder:
        folder.expect_own()
        assert not os.path.exists(tmp_path / FAILURE)
