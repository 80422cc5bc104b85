from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipelines.cluster import conditions
from pipelines.cluster.conditions import Conditions, expect_conditions, sent_environment, state_conditions
from pipelines.cluster.errors import WorkerError
from pipelines.cluster.worker import DIFFERS, SAYS, find_sentence, main


class Memory(dict):
    """Objects of a store."""

    def put(self, name, body):
        self[name] = body

    def get(self, name):
        return SimpleNamespace(body=self[name]) if name in self else None


@pytest.fixture
def stated(tmp_path, monkeypatch):
    monkeypatch.delenv("RADALIGN_DATABASE", raising=False)
    monkeypatch.setattr(conditions, "code_of_all", lambda: "c0de")
    return state_conditions(tmp_path / "home", "run")


def test_a_worker_with_all_that_the_run_has_may_begin(stated):
    expect_conditions(Conditions.from_json(stated.to_json()))


def test_the_token_of_a_home_on_object_storage_is_an_object_of_it(tmp_path, monkeypatch):
    """Each machine has a mirror of its own, so that a file would tell nothing."""
    objects = Memory()
    monkeypatch.setattr(conditions, "keeper_of", lambda home: SimpleNamespace(objects=objects))
    stated = state_conditions(tmp_path, "run")
    assert list(tmp_path.iterdir()) == []
    expect_conditions(stated)
    objects.clear()
    with pytest.raises(WorkerError, match="does not see the home"):
        expect_conditions(stated)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"code": "other"}, "has other code than the run"),
        ({"python": "3.9"}, "and the run has Python 3.9"),
        ({"packages": {"pyarrow": "1.0"}}, "run `make setup` there"),
        ({"token": "another"}, "does not see the home"),
        ({"home": "/nowhere"}, "does not see the home"),
        ({"database": "dagster at db:5432"}, "set RADALIGN_DATABASE in the environment in which workers are started"),
    ],
)
def test_what_a_worker_lacks_is_one_sentence(stated, changed, said, monkeypatch, capsys):
    wanted = replace(stated, **changed)
    with pytest.raises(WorkerError, match=said):
        expect_conditions(wanted)
    monkeypatch.setenv(conditions.CONDITIONS, wanted.to_json())
    assert main(["check"]) == DIFFERS
    printed = capsys.readouterr().err
    assert said in find_sentence(f"before\n{printed}after\n")
    assert printed.count("\n") == 1


def test_a_worker_gets_our_variables_without_passwords(monkeypatch, tmp_path):
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.setenv("RADALIGN_OPEN_I_ROOT", "/data/open_i")
    monkeypatch.setenv("RADALIGN_DATABASE", "postgresql://me:secret@db/dagster")
    monkeypatch.setenv("RADALIGN_MIRROR", "/here/only")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    sent = sent_environment()
    assert sent["RADALIGN_HOME"] == str(tmp_path)
    assert sent["RADALIGN_OPEN_I_ROOT"] == "/data/open_i"
    assert not {"RADALIGN_DATABASE", "RADALIGN_MIRROR", "AWS_SECRET_ACCESS_KEY"} & sent.keys()
    monkeypatch.setenv("RADALIGN_DATABASE", "postgresql://me@db/dagster")
    assert sent_environment()["RADALIGN_DATABASE"] == "postgresql://me@db/dagster"


@pytest.mark.parametrize("sent", ["", "[]", '{"home": "/h"}', '{"of_a_later_version": 1}'])
def test_what_other_code_has_sent_is_one_sentence(sent, monkeypatch, capsys):
    monkeypatch.setenv(conditions.CONDITIONS, sent)
    assert main(["check"]) == DIFFERS
    assert "to the same commit" in find_sentence(capsys.readouterr().err)


@pytest.mark.parametrize(
    "address",
    ["postgresql://me:sec/ret@db/dagster", "postgresql://db/dagster?user=me&password=secret", "https://:secret@mlflow"],
)
def test_no_spelling_of_a_password_is_sent(monkeypatch, address):
    monkeypatch.setenv("RADALIGN_DATABASE", address)
    assert "RADALIGN_DATABASE" not in sent_environment()


def test_the_version_of_all_code_changes_with_any_module(monkeypatch):
    monkeypatch.setattr(conditions, "code_version", lambda *modules: modules)
    modules = conditions.code_of_all()
    assert {"pipelines.cluster.worker", "store.batches", "cohorts.readers.open_i"} <= set(modules)


def test_what_a_worker_printed_besides_is_no_sentence():
    assert find_sentence("Traceback\nValueError: x\n") == ""
    assert find_sentence(f"x\n{SAYS}first.\n(pid=3) {SAYS}second.\n") == "second."
