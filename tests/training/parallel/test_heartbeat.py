"""A training stops when the step that launched it on another machine gives no sign of life any more."""

from __future__ import annotations

import os
import signal
import time

import pytest

from store.errors import SettingError
from training.guards import StopRequest
from training.parallel.heartbeat import HEARTBEAT, SILENCE, beating, watch_heartbeat


def test_a_training_stops_after_the_last_sign_of_life(tmp_path, monkeypatch):
    path, stop = tmp_path / "heartbeat", StopRequest()
    monkeypatch.setenv(HEARTBEAT, str(path))
    monkeypatch.setenv(SILENCE, "1")
    heard = []
    monkeypatch.setattr("training.parallel.heartbeat.os.kill", lambda pid, number: heard.append((pid, number)))
    with beating(path, seconds=0.1), stop.listening():
        watch_heartbeat()
        time.sleep(1.5)
        assert not heard
    deadline = time.monotonic() + 30
    while not heard:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert heard == [(os.getpid(), signal.SIGTERM)]


def test_who_does_not_see_the_file_does_not_watch_it(tmp_path, monkeypatch):
    monkeypatch.setenv(HEARTBEAT, str(tmp_path / "elsewhere"))
    monkeypatch.setenv(SILENCE, "0.1")
    monkeypatch.setattr("training.parallel.heartbeat.os.kill", lambda *_: heard.append(1))
    heard = []
    watch_heartbeat()
    time.sleep(0.4)
    assert not heard


@pytest.mark.parametrize("given", ["soon", "-1", "nan"])
def test_a_silence_that_is_no_time_is_one_sentence(tmp_path, monkeypatch, given):
    monkeypatch.setenv(HEARTBEAT, str(tmp_path))
    monkeypatch.setenv(SILENCE, given)
    with pytest.raises(SettingError, match=f"{SILENCE} is '{given}'"):
        watch_heartbeat()
