import numpy as np
import pyarrow.parquet as pq
import pytest

from evaluation.errors import EvaluationError
from evaluation.metrics.values import ResultValue
from evaluation.results.resamples import read_resamples
from evaluation.results.schema import RESULTS
from evaluation.results.store import ResultKey, as_markdown, as_text, find_results, read_results, write_results
from store.seals import unseal

KEY = ResultKey("medklip", "c0ffee" * 5, "run", "phantom", "d1", 0)
VALUES = [
    ResultValue("auroc", "effusion", 0.9, 0.85, 0.95, 100),
    ResultValue("auroc", "hernia", None, None, None, 100),
    ResultValue("auroc", "macro", 0.9, 0.85, 0.95, 1),
    ResultValue("f1", "effusion", 0.5, 0.4, 0.6, 100),
    ResultValue("f1", "macro", 0.5, 0.4, 0.6, 1),
]
TASK = "zero_shot_classification"


def key(**changes):
    return ResultKey(**{**vars(KEY), **changes})


def test_rows_say_what_produced_them(tmp_path):
    path = write_results(tmp_path, TASK, KEY, VALUES)
    assert path.parent == tmp_path / "results"
    assert pq.read_schema(path).equals(RESULTS)
    assert (RESULTS.metadata or {}).items() <= pq.read_schema(path).metadata.items()
    table = read_results(tmp_path)
    assert table.schema.equals(RESULTS, check_metadata=True)
    assert table["class"].to_pylist() == [value.class_name for value in VALUES]
    assert table.to_pylist()[0] == {
        **vars(KEY),
        "task": TASK,
        "setting": "zero-shot",
        "metric": "auroc",
        "class": "effusion",
        "value": 0.9,
        "low": 0.85,
        "high": 0.95,
        "n": 100,
        "source": "measured",
        "note": "",
        "positives": None,
    }
    assert table["value"].to_pylist()[1] is None


def test_the_same_key_replaces_and_another_adds(tmp_path):
    write_results(tmp_path, TASK, KEY, VALUES)
    write_results(tmp_path, TASK, key(mlflow_run="again", data_version="d2"), VALUES[:1])
    assert read_results(tmp_path)["mlflow_run"].to_pylist() == ["again"]
    for change in ({"method": "untrained:medklip"}, {"cohort": "toy"}, {"checkpoint": "b"}, {"seed": 1}, {"repeat": 1}):
        write_results(tmp_path, TASK, key(**change), VALUES[:1])
    write_results(tmp_path, "zero_shot_grounding", KEY, VALUES[:1])
    write_results(tmp_path, TASK, KEY, VALUES[:1], setting="1 %")
    write_results(tmp_path, TASK, KEY, VALUES[:1], source="Table 1")
    assert len(read_results(tmp_path)) == 9


def test_names_that_read_alike_are_different_files(tmp_path):
    first = write_results(tmp_path, TASK, key(method="untrained:medklip"), VALUES)
    second = write_results(tmp_path, TASK, key(method="untrained/medklip"), VALUES)
    assert first != second
    assert {path.parent for path in (first, second)} == {tmp_path / "results"}


def test_filters(tmp_path):
    for method in ("medklip", "untrained:medklip", "supervised"):
        for seed in (0, 1):
            write_results(tmp_path, TASK, key(method=method, seed=seed), VALUES[:1])
    found = read_results(tmp_path, {"method": ["medklip", "supervised"], "seed": 1})
    assert sorted(found["method"].to_pylist()) == ["medklip", "supervised"]
    assert len(read_results(tmp_path, {"class": "nobody"})) == 0
    with pytest.raises(EvaluationError, match="no column 'colour'"):
        read_results(tmp_path, {"colour": "red"})


def test_no_results_yet(tmp_path):
    assert read_results(tmp_path).equals(RESULTS.empty_table())
    assert as_text(read_results(tmp_path)) == "There are no results yet."


def test_a_folder_with_odd_characters(tmp_path):
    home = tmp_path / "it's [a] *home*"
    write_results(home, TASK, KEY, VALUES)
    assert len(read_results(home)) == len(VALUES)


def test_a_failed_write_leaves_the_old_numbers(tmp_path, monkeypatch):
    write_results(tmp_path, TASK, KEY, VALUES)
    monkeypatch.setattr(pq, "write_table", lambda table, where, **options: where.write_bytes(b"x") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_results(tmp_path, TASK, KEY, VALUES[:1])
    assert len(read_results(tmp_path)) == len(VALUES)


def test_as_text_and_as_markdown_are_those_of_result_tables(tmp_path):
    write_results(tmp_path, TASK, KEY, VALUES)
    table = read_results(tmp_path)
    assert "0.900 [0.850, 0.950]" in as_text(table)
    assert "| 0.900 [0.850, 0.950] |" in as_markdown(table)


SINCE_VERSION_2 = ("repeat", "protocol", "simulated", "positives", "note")


def rewrite(home, version, change):
    """Write every file under the results of `home` anew, as `change` makes it of its table: unsealed, as of old."""
    for path in (home / "results").rglob("*.parquet"):
        metadata = {"table": path.parent.name, "version": version}
        pq.write_table(change(pq.read_table(path)).replace_schema_metadata(metadata), path)
        unseal(path)


def test_files_of_version_1_are_read(tmp_path):
    """Version 1 has neither repeats nor protocols, and does not say what is simulated."""
    value = ResultValue("auroc", "macro", 0.5, 0.4, 0.6, 3, np.array([0.4, 0.6]))
    write_results(tmp_path, TASK, KEY, [value])
    before, resamples = read_results(tmp_path), read_resamples(tmp_path / "results", ["auroc"], "macro")

    def age(table):
        return table.drop_columns([name for name in SINCE_VERSION_2 if name in table.column_names])

    rewrite(tmp_path, "1", age)
    (path,) = (tmp_path / "results").glob("*.parquet")
    assert not set(SINCE_VERSION_2) & set(pq.read_schema(path).names)
    assert read_results(tmp_path).equals(before)
    (row,) = read_results(tmp_path).to_pylist()
    assert [row[name] for name in SINCE_VERSION_2] == [0, "", False, None, ""]
    again = read_resamples(tmp_path / "results", ["auroc"], "macro")
    assert list(again) == list(resamples)
    np.testing.assert_array_equal(list(again.values()), list(resamples.values()))
    assert find_results(tmp_path, TASK, KEY) == ([value], "")


def test_files_of_version_2_are_read(tmp_path):
    """Version 2 calls a repeat a draw."""
    value = ResultValue("auroc", "macro", 0.5, 0.4, 0.6, 3, np.array([0.4, 0.6]))
    for repeat in (0, 2):
        write_results(tmp_path, TASK, key(repeat=repeat), [value])
    before, resamples = read_results(tmp_path), read_resamples(tmp_path / "results", ["auroc"], "macro")
    rewrite(
        tmp_path,
        "2",
        lambda table: table.rename_columns(["draw" if name == "repeat" else name for name in table.column_names]),
    )
    assert read_results(tmp_path).equals(before)
    assert sorted(before["repeat"].to_pylist()) == [0, 2]
    again = read_resamples(tmp_path / "results", ["auroc"], "macro")
    assert sorted(again) == sorted(resamples)
    assert len(again) == 2
    assert find_results(tmp_path, TASK, key(repeat=2)) == ([value], "")


def test_files_of_version_3_are_read_without_seals_but_not_under_another_name(tmp_path):
    path = write_results(tmp_path, TASK, KEY, VALUES)
    before = read_results(tmp_path)
    rewrite(tmp_path, "3", lambda table: table)
    assert read_results(tmp_path).equals(before)
    assert find_results(tmp_path, TASK, KEY) == (VALUES, "")
    path.rename(path.with_name(path.name.replace("medklip", "mgca")))
    assert len(read_results(tmp_path)) == 0
