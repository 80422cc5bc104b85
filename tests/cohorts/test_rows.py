"""Steps from table rows to studies and rejects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.errors import CohortError
from cohorts.rows import files_below, first_reasons, list_column, look_for_files, number_duplicates, rectangles
from cohorts.tables import BOX, SHAPE


@given(st.lists(st.sampled_from(["a", "a#2", "b", "a#2#2"]), max_size=12))
def test_numbered_ids_are_distinct_and_the_first_keep_their_names(ids):
    series = pd.Series(ids, dtype=object)
    numbered = number_duplicates(series)
    assert numbered.is_unique
    assert (numbered[~series.duplicated()] == series[~series.duplicated()]).all()


def test_the_first_reason_counts():
    conditions = {"one": pd.Series([True, False, False]), "two": np.array([True, True, False])}
    assert first_reasons(conditions, 3).tolist() == ["one", "two", ""]


def test_files_are_looked_for_where_nothing_else_is_wrong(tmp_path):
    (tmp_path / "here").touch()
    (tmp_path / "folder").mkdir()
    paths = pd.Series(["here", "gone", "../here", "/etc/passwd", "folder", "x" * 300, r"a\xff/here", r"a\b", "gone"])
    reasons = np.array([""] * 8 + ["other"], dtype=object)
    look_for_files(tmp_path, paths, reasons)
    outside = "path_outside_root"
    missing = "missing_file"
    assert reasons.tolist() == ["", missing, outside, outside, missing, missing, "unreadable_name", outside, "other"]


def test_lists_by_row():
    boxes = pd.DataFrame(
        {
            "image_id": ["b", "x", "a", "b"],
            "label": ["one", "lost", "two", "three"],
            "x": [1.0, 9, 2, 3],
            "y": 0.0,
            "width": 4.0,
            "height": 5.0,
        }
    )
    column = list_column(pd.Series(["a", "b", "c", "d"]), boxes, BOX, np.array([0, 0, 1, 0], bool))
    labels = [value and [box["label"] for box in value] for value in column.to_pylist()]
    assert labels == [["two"], ["one", "three"], [], None]
    shapes = list_column(pd.Series(["b"]), rectangles(boxes), SHAPE).to_pylist()[0]
    assert shapes[1] == {"label": "three", "kind": "rectangle", "points": [3, 0, 7, 5]}


@pytest.mark.parametrize("item", [BOX, SHAPE])
def test_no_items(item):
    table = pd.DataFrame({"image_id": [], "label": [], "x": [], "y": [], "width": [], "height": []})
    items = table if item is BOX else rectangles(table)
    column = list_column(pd.Series(["a"]), items, item)
    assert column.to_pylist() == [None]
    assert column.type == pa.list_(item)


def test_files_below(tmp_path):
    for name in ("b/2.png", "b/1.png", "a/x/3.png", "a/._3.png", "a/4.txt", "other/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path, ["a", "b"], [".png"]) == ["a/x/3.png", "b/1.png", "b/2.png"]
    assert len(files_below(tmp_path, ["."], [".png", ".txt"])) == 5
    assert files_below(tmp_path, ["absent*"], [".png"]) == []


def test_a_folder_that_leads_out(tmp_path, tmp_path_factory):
    (tmp_path / "images").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(CohortError, match="images is a link out of"):
        files_below(tmp_path, ["images"], [".png"])
