"""What is wrong with a store ends every command before any work, in one sentence."""

from __future__ import annotations

import json

import pytest

from store.remote.protocol.errors import StoreError

BAD = {
    "cannot be reached": {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    "refuses the credentials": {"AWS_ACCESS_KEY_ID": "stranger"},
    "no bucket elsewhere": {"RADALIGN_HOME": "s3://elsewhere/home"},
    "cannot hold a home": {"RADALIGN_HOME": "gs://bucket/home"},
}


@pytest.fixture(params=BAD)
def said(request, host, monkeypatch):
    """What the sentence has to say of a home that cannot be used."""
    monkeypatch.setattr("store.remote.home.FIRST_PATIENCE", 0.2)
    host("a", **BAD[request.param])
    return request.param


def test_a_run_is_refused_before_its_first_step(said):
    from pipelines.preflight.check import check_run

    with pytest.raises(StoreError, match=said):
        check_run({"archive", "inventory"}, {}, {}, lambda _: None)


def test_the_command_ends_with_the_sentence(said, capsys):
    from radalign.command import main

    assert main(["results"]) != 0
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert "radalign-secret" not in error


def test_doctor_names_the_store(said, capsys):
    from radalign.command.doctor import _home

    finding = next(iter(_home("")))
    assert (finding.subject, finding.state) == ("Store", "missing")
    assert said in finding.advice


def test_doctor_names_a_store_that_can_be_used(host, url):
    from radalign.command.doctor import _home

    host("a")
    finding = next(iter(_home("")))
    assert (finding.subject, finding.state) == ("Store", "ok")
    assert url in finding.text


def test_a_training_of_another_home_is_refused(host, tmp_path, capsys):
    from training.__main__ import main

    host("a")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"method": "convirt", "shards": "s3://elsewhere/shards", "output": str(tmp_path)}))
    assert main([str(file)]) == 1
    assert "`shards` is no address in the home that RADALIGN_HOME names" in capsys.readouterr().err
