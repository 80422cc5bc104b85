"""Tables as they are found: packed, with bytes that are no text, with commas too many."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from cohorts.archive.csv_files import find, numbers, read
from cohorts.errors import CohortError


@pytest.fixture
def table(tmp_path):
    def write(content: bytes, name: str = "table.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_values_stay_text(table):
    rows = read(table(b"a,b\n001,NA\n,nan\n"), ["a", "b"])
    assert rows.to_numpy().tolist() == [["001", "NA"], ["", "nan"]]
    packed = table(gzip.compress(b"a,b\n1,2\n"), "other.csv.gz")
    assert read(find([packed.parent], "other.csv"))["b"].tolist() == ["2"]


def test_a_byte_that_is_no_text_spoils_its_row_alone(table):
    assert read(table(b"a,b\nx\xe9,1\ny,2\n"))["a"].tolist() == ["x\ufffd", "y"]


def test_a_trailing_comma_moves_no_column(table):
    for content in (b"a,b,\n1,2,\n", b"a,b\n1,2,\n"):
        assert read(table(content), ["a", "b"]).to_numpy().tolist() == [["1", "2"]]


def test_numbers(table):
    rows = read(table(b"a,b\n1,\n-1.0,x\n"))
    np.testing.assert_array_equal(numbers(rows, ["b", "a"]), [[np.nan, 1], [np.nan, -1]])
    assert numbers(rows[:0], ["a", "b"]).shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (b"a,b\n1,2\n1,2,3\n", None, r"table\.csv cannot be read as a CSV file \(line 3\); it may be damaged"),
        (b"a,b\n1,2,3\n", None, "cannot be read"),
        (b"", None, r"table\.csv cannot be read as a CSV file; it may"),
        (b'a,b\n"1,2\n', ["a"], "cannot be read"),
        (b"a,c\n1,2\n", ["a", "b"], r"table\.csv has no column b; is it the published file\?"),
    ],
)
def test_what_cannot_be_read_is_said(table, content, columns, message):
    with pytest.raises(CohortError, match=message):
        read(table(content), columns)
