"""A damaged, foreign or stray file of results takes no other numbers along, and is told until it is measured again."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation.metrics.values import ResultValue
from evaluation.results.files import list_stray, resamples_path
from evaluation.results.resamples import read_resamples
from evaluation.results.store import ResultKey, find_results, read_results, write_results
from store.seals import is_intact, seal, seal_path, write_sealed_json
from tests.evaluation.damage import DAMAGES, replace_by

TASK = "linear_probe"
KEY = ResultKey("mgca", "c0ffee" * 5, "run", "chexpert", "d1", 0, protocol="p")
OTHER = ResultKey("untrained:mgca", "decaf" * 5, "run", "chexpert", "d1", 0, protocol="p")
VALUES = [ResultValue("auroc", "macro", 0.9, 0.8, 0.95, 1, np.linspace(0.8, 0.95, 40))]


@pytest.fixture
def path(tmp_path):
    """The file of one measurement of two."""
    write_results(tmp_path, TASK, OTHER, VALUES, "10 %")
    return write_results(tmp_path, TASK, KEY, VALUES, "10 %")


def find(home, key=KEY):
    """What is found, and what was said."""
    said = []
    return find_results(home, TASK, key, "10 %", said.append), said


def read(home):
    """The methods with numbers, and what was said."""
    said = []
    table = read_results(home, log=said.append)
    return table["method"].to_pylist(), said


def compared(home):
    """The methods with resamples, and what was said."""
    said = []
    found = read_resamples(home / "results", ["auroc"], "macro", said.append)
    return sorted(key[0] for key in found), said


def test_what_is_whole_is_read_without_a_word(tmp_path, path):
    assert find(tmp_path) == ((VALUES, ""), [])
    assert read(tmp_path) == ([KEY.method, OTHER.method], [])
    assert compared(tmp_path) == ([KEY.method, OTHER.method], [])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_measurement_is_not_found_and_is_the_same_when_it_was_made_again(tmp_path, path, damage):
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    damage(path)
    found, said = find(tmp_path)
    assert found is None
    assert len(said) == 1
    assert str(path) in said[0]
    assert said[0].endswith("it is measured again.")
    assert find(tmp_path, OTHER) == ((VALUES, ""), [])
    write_results(tmp_path, TASK, KEY, VALUES, "10 %")
    assert find(tmp_path) == ((VALUES, ""), [])
    after = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    assert {file: content for file, content in after.items() if file.suffix != ".damaged"} == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_measurement_takes_no_other_along_and_is_told_each_time(tmp_path, path, damage):
    damage(path)
    for _ in range(2):
        methods, said = read(tmp_path)
        assert methods == [OTHER.method]
        assert len(said) == 1
        assert str(path) in said[0]
    write_results(tmp_path, TASK, KEY, VALUES, "10 %")
    assert read(tmp_path) == ([KEY.method, OTHER.method], [])


def test_what_is_lost_is_named_with_the_command_that_measures_it_again(tmp_path, path):
    path.write_bytes(b"")
    (sentence,) = read(tmp_path)[1]
    assert "the results of mgca · chexpert · linear_probe · 10 %, seed 0, repeat 0 are left out" in sentence
    assert "`dagster job execute -j evaluate_mgca` measures them again" in sentence
    resamples_path(path).unlink()
    (sentence,) = read(tmp_path)[1]
    assert "the results of mgca · chexpert · linear_probe · 0 are left out" in sentence  # as far as the name tells


TOLD_BY_THE_RESULT = sorted(set(DAMAGES) - {"unsealed"})  # it holds their digest


@pytest.mark.parametrize("damage", [DAMAGES[name] for name in TOLD_BY_THE_RESULT], ids=TOLD_BY_THE_RESULT)
def test_a_measurement_whose_resamples_are_damaged_is_made_again(tmp_path, path, damage):
    damage(resamples_path(path))
    methods, said = compared(tmp_path)
    assert methods == [OTHER.method]
    assert "damaged or gone: no comparison uses it; `dagster job execute -j evaluate_mgca`" in said[0]
    assert read(tmp_path)[0] == [KEY.method, OTHER.method]  # the numbers are right
    found, said = find(tmp_path)
    assert found is None
    assert said == [f"The resamples of {path} are damaged or gone; it is measured again."]
    write_results(tmp_path, TASK, KEY, VALUES, "10 %")
    assert compared(tmp_path) == ([KEY.method, OTHER.method], [])


def test_a_kill_between_resamples_and_result_loses_no_comparison(tmp_path, path, monkeypatch):
    """Resamples come first, and a result without its own does not count: a killed one is measured again."""
    other = [ResultValue("auroc", "macro", 0.7, 0.6, 0.8, 1, np.linspace(0.6, 0.8, 40))]

    def killed(table, where):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("evaluation.results.store.write_sealed_table", killed)
        with pytest.raises(KeyboardInterrupt):
            write_results(tmp_path, TASK, KEY, other, "10 %")
    assert find(tmp_path)[0] is None
    assert compared(tmp_path)[0] == [OTHER.method]
    write_results(tmp_path, TASK, KEY, other, "10 %")
    assert find(tmp_path) == ((other, ""), [])
    assert compared(tmp_path) == ([KEY.method, OTHER.method], [])


def test_a_measurement_of_another_run_is_not_taken_under_the_name_of_this(tmp_path, path):
    other = write_results(tmp_path, TASK, OTHER, VALUES, "10 %")
    replace_by(path, other)
    assert is_intact(path)
    found, said = find(tmp_path)
    assert found is None
    assert "holds the results of something else and is set aside" in said[0]
    replace_by(path, other)
    methods, said = read(tmp_path)
    assert methods == [OTHER.method]
    assert len(said) == 1


def test_resamples_of_another_measurement_are_not_taken_under_the_name_of_these(tmp_path, path):
    other = write_results(tmp_path, TASK, OTHER, VALUES, "10 %")
    replace_by(resamples_path(path), resamples_path(other))
    assert find(tmp_path)[0] is None
    assert compared(tmp_path)[0] == [OTHER.method]


def text(folder):
    (folder / "notes.txt").write_text("mine")


def copy(folder):
    path = next(iter(folder.glob("mgca*.parquet")))
    shutil.copy(path, folder / f"{path.stem} (1).parquet")


def named_alike(folder):
    path = next(iter(folder.glob("mgca*.parquet")))
    shutil.copy(path, folder / path.name.replace("mgca", "mgcb"))


def another_table(folder):
    path = folder / "somebody-0123456789ab.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    seal(path)


def rubbish(folder):
    (folder / "somebody-0123456789ab.parquet").write_text("no table")


def subfolder(folder):
    (folder / "somebody-0123456789ab.parquet").mkdir()


@pytest.mark.parametrize("put", [text, copy, named_alike, another_table, rubbish, subfolder])
def test_a_stray_file_is_told_and_left_alone(tmp_path, path, put):
    before = set(path.parent.iterdir())
    put(path.parent)
    (stray,) = set(path.parent.iterdir()) - before - {seal_path(path.parent / "somebody-0123456789ab.parquet")}
    for _ in range(2):
        methods, said = read(tmp_path)
        assert methods == [KEY.method, OTHER.method]
        assert len(said) == 1
        assert stray.name in said[0]
    assert compared(tmp_path)[0] == [KEY.method, OTHER.method]
    assert stray.exists()


def test_what_lies_with_the_results_on_purpose_is_no_stray(tmp_path):
    folder = tmp_path / "results"
    for name in ("leakage.json", "published.parquet"):
        write_sealed_json(folder / name, {})
    (folder / "tables").mkdir()
    assert list(list_stray(folder)) == []
    (folder / "notes.txt").touch()
    (sentence,) = list_stray(folder)
    assert "notes.txt is no file of results" in sentence
