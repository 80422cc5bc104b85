"""A training in a home on object storage: another machine finds it finished, or goes on from its last checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from models.run_files import METRICS, RESULT, TRAINED
from store.errors import UserError
from store.locks import HELD
from store.remote import mirror
from tests.training.conftest import shard_rows, tiny_config, write_shards
from training.loop import train
from training.state.finished import is_finished

RUN = "checkpoints/convirt/f00d"


def test_another_machine_finds_a_finished_training_and_does_not_train(host, tmp_path):
    shards = write_shards(tmp_path / "shards", shard_rows(16))
    config = replace(tiny_config(shards, host("a") / RUN), max_steps=4, checkpoint_every=2)
    steps: list[int] = []
    first = train(config, lambda done, _: steps.append(done))
    b = host("b") / RUN
    steps.clear()
    mirror.refresh(host("b"))
    assert is_finished(b)
    assert train(replace(config, output=str(b)), lambda done, _: steps.append(done)) == first
    assert steps == []
    for name in (RESULT, METRICS, TRAINED):
        assert (b / name).read_bytes() == (tmp_path / "a" / RUN / name).read_bytes()
    assert HELD not in os.environ


def test_a_training_does_not_begin_where_the_store_cannot_be_used(host, tmp_path, monkeypatch):
    shards = write_shards(tmp_path / "shards", shard_rows(16))
    monkeypatch.setattr("store.remote.home.FIRST_PATIENCE", 0.2)
    output = host("a", AWS_ENDPOINT_URL="http://127.0.0.1:9") / RUN
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 cannot be reached"):
        train(tiny_config(shards, output), lambda *_: pytest.fail("it trains"))
