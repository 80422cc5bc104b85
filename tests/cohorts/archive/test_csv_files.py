"""Tables as they are found: packed, from spreadsheets, in any encoding, with commas too many, or no tables at all."""

from __future__ import annotations

import gzip
import io
import os
import re
import socket
import tracemalloc
import zipfile
from contextlib import closing
from random import Random
from time import perf_counter

import numpy as np
import pytest

from cohorts.archive import csv_files, text_files
from cohorts.archive.csv_files import find, numbers, read, read_headerless
from cohorts.errors import CohortError
from tests.cohorts.clocks import within

EXPECTED = [["é;1", "0.5"], ["line\nend", '"'], ["", "-1"]]


@pytest.fixture
def table(tmp_path):
    def write(content: bytes, name: str = "table.csv"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def values(path) -> list[list[str]]:
    return read(path, ["name", "value"]).to_numpy().tolist()


def separated(separator: str) -> str:
    """Two wanted columns with another between them, and every kind of value."""
    lines = [("name", '"with ; it,more"', "value"), ('"é;1"', "x", "0.5"), ('"line\nend"', "", '""""'), ("", "", "-1")]
    return "".join(separator.join(line) + "\n" for line in lines)


def test_values_stay_text(table):
    rows = read(table(b"a,b\n001,NA\n,nan\n"), ["a", "b"])
    assert rows.to_numpy().tolist() == [["001", "NA"], ["", "nan"]]
    packed = table(gzip.compress(b"a,b\n1,2\n"), "other.csv.gz")
    assert read(find([packed.parent], "other.csv"), ["b"])["b"].tolist() == ["2"]


def test_columns_are_in_the_order_of_the_table_and_others_only_where_asked_for(table):
    path = table(b"c,a,,b\n1,2,3,4\n")
    assert dict(read(path, ["b", "a"]).loc[0]) == {"a": "2", "b": "4"}
    assert list(read(path, ["b"], others=["c", "none"])) == ["c", "b"]
    assert list(read(path, ["b"], others=None)) == ["c", "a", "b"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(table, separator, ends):
    text = separated(separator).replace("\n", ends)
    assert values(table(text.encode())) == [[value.replace("\n", ends) for value in row] for row in EXPECTED]
    assert values(table(text.encode().rstrip(ends.encode()))) == values(table(text.encode()))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_encodings(table, encoding, packed):
    content = separated(";").encode(encoding)
    path = table(gzip.compress(content), "table.csv.gz") if packed else table(content)
    assert values(path) == EXPECTED


def test_a_mark_behind_which_utf_16_has_the_other_order(table):
    assert values(table(b"\xfe\xff" + separated("\t").encode("utf-16-be"))) == EXPECTED


def test_a_separator_is_taken_only_where_it_makes_the_columns(table):
    assert read(table(b"a;x,b\n1;2,3\n"), ["b"]).to_numpy().tolist() == [["3"]]
    assert read(table(b"a,b\n1;2,3\n"), ["a", "b"]).to_numpy().tolist() == [["1;2", "3"]]
    with pytest.raises(CohortError, match=r"no column a, b; is it"):
        read(table(b"a;c\n1;2\n"), ["a", "b"])


def test_a_byte_that_is_no_utf_8_spoils_its_value_alone(table):
    assert read(table(b"a,b\nx\xe9,1\ny\x9d,2\n\xc3\xa9,3\n"), ["a"])["a"].tolist() == ["xé", "y\ufffd", "é"]


def test_a_trailing_comma_moves_no_column(table):
    for content in (b"a,b,\n1,2,\n", b"a,b\n1,2,\n", b"a,b,,\n1,2\n", b"a,b,,\n1,2,x,\n"):
        assert read(table(content), ["a", "b"]).to_numpy().tolist() == [["1", "2"]]


def test_blanks_around_the_names_of_columns_do_not_count(table):
    assert read(table(b" a ,\tb\n 1 ,2\n"), ["a", "b"]).to_numpy().tolist() == [[" 1 ", "2"]]


def test_tables_without_a_header(table):
    rows = read_headerless(table(b"x/y,1\nz\n\nz,,\n"), ["path", "label"])
    assert rows.to_numpy().tolist() == [["x/y", "1"], ["z", ""], ["z", ""]]
    assert read_headerless(table(b"x y;1\r\nz;0\r\n"), ["path", "label"]).to_numpy().tolist() == [
        ["x y", "1"],
        ["z", "0"],
    ]
    assert read_headerless(table(b""), ["path"]).to_numpy().tolist() == []
    with pytest.raises(CohortError, match=r"table\.csv has 3 values in line 2 instead of 2; it is damaged"):
        read_headerless(table(b"x,1\ny,1,2\n"), ["path", "label"])


def test_numbers(table):
    rows = read(table(b"a,b\n1,\n-1.0,x\n"), ["a", "b"])
    np.testing.assert_array_equal(numbers(rows, ["b", "a"]), [[np.nan, 1], [np.nan, -1]])
    assert numbers(rows[:0], ["a", "b"]).shape == (0, 2)


def test_a_decimal_comma_is_not_passed_over(table):
    rows = read(table(b"a;b\n1;-0,5\n"), ["a", "b"])
    with pytest.raises(CohortError, match=r"The column b has numbers with a decimal comma"):
        numbers(rows, ["a", "b"])


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (
            b"a,b\n1,2\n1,2,3\n",
            ["a"],
            r"table\.csv has 3 values in line 3 instead of 2; it is damaged, so fetch it again",
        ),
        (b'a,b\n"x\ny",2\n1\n', ["a"], r"table\.csv has 1 values in line 4 instead of 2"),
        (b"a,b\n1,2,3\n", ["a"], "3 values in line 2"),
        (b"", ["a"], r"table\.csv has no column a"),
        (b"\n\n", ["a"], r"table\.csv has no column a"),
        (b'a,b\n1,2\n"1,2\n', ["a"], r"table\.csv has a quotation in line 3 that is never closed"),
        (b"a,c\n1,2\n", ["a", "b"], r"table\.csv has no column b; is it the published file\?"),
        (b"a,b, a\n1,2,3\n", ["a"], r"table\.csv has two columns a; is it"),
        (b"a,b\n1,2\n\0\0\0,2\n", ["a"], r"table\.csv has bytes that are no text in line 3"),
        (b"\0" * 5000, ["a"], "no text in line 1"),
        (
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            ["a"],
            r"table\.csv is a gzip file; unpack it, or add \.gz to its name",
        ),
        (b"PAR1xxxx", ["a"], "is a Parquet file"),
        (b"<!DOCTYPE html><html>", ["a"], "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", ["a"], "is a pointer of Git LFS"),
    ],
)
def test_what_cannot_be_read_is_said(table, content, columns, message):
    with pytest.raises(CohortError, match=message) as caught:
        read(table(content), columns)
    assert "\n" not in str(caught.value)


def test_a_workbook_is_called_one(table):
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as file:
        file.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(CohortError, match=r"is an Excel workbook or a zip file; save its sheet as CSV"):
        read(table(book.getvalue()), ["a"])


def test_packed_files_that_are_cut_short_or_not_packed(table):
    content = gzip.compress(b"a,b\n" + Random(0).randbytes(3000).hex().encode() + b",1\n", mtime=0)
    with pytest.raises(CohortError, match=r"table\.csv\.gz ends too early to be unpacked; fetch it again"):
        read(table(content[:-20], "table.csv.gz"), ["a"])
    with pytest.raises(CohortError, match="damaged or no gzip file"):
        read(table(b"a,b\n1,2\n", "table.csv.gz"), ["a"])
    with pytest.raises(CohortError, match="damaged or no gzip file"):
        read(table(content[:60] + b"\xff" * 60 + content[120:], "table.csv.gz"), ["a"])


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_only_regular_files_are_opened(tmp_path, kind):
    path = tmp_path / "table.csv"
    with within(5), closing(socket.socket(socket.AF_UNIX)) as listener:
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "socket":
                listener.bind(str(path))
            case "device":
                path.symlink_to("/dev/zero")
        with pytest.raises(CohortError, match=r"table\.csv is no regular file; put the published file in its place"):
            find([tmp_path], "table.csv")
        with pytest.raises(CohortError, match=r"table\.csv cannot be read \(Not a regular file\)"):
            read(path, ["a"])


def test_a_file_is_found_in_a_folder_whose_name_looks_like_a_pattern(tmp_path):
    folder = tmp_path / "a[b]*"
    folder.mkdir()
    (folder / "t_2.csv").touch()
    (folder / "t_1.csv.gz").touch()
    assert find([tmp_path / "absent", tmp_path, folder], "t_*.csv") == folder / "t_2.csv"
    assert find([folder], "t_1.csv") == folder / "t_1.csv.gz"


def test_a_link_to_itself_is_no_table(tmp_path):
    (tmp_path / "table.csv").symlink_to(tmp_path / "table.csv")
    with pytest.raises(CohortError, match="no regular file"):
        find([tmp_path], "table.csv")


HUGE = {
    "columns": (lambda: ",".join(f"c{i}" for i in range(1_000_000)).encode(), "has a line, 1, of more than"),
    "short columns": (lambda: b"a," * 200_000, "has 200001 columns, as no published table has"),
    "no line end": (lambda: b"x" * (64 << 20), "has a line, 1, of more than 1048576 characters"),
    "field": (lambda: b"a,b\n1," + b"x" * (64 << 20), "has a line, 2, of more than 4194304 characters"),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_table_that_is_too_large_for_one_is_refused_soon_and_in_little_memory(table, kind):
    make, message = HUGE[kind]
    path = table(make())
    tracemalloc.start()
    begun = perf_counter()
    with pytest.raises(CohortError, match=re.escape(message)):
        read(path, ["a"])
    seconds, (_, peak) = perf_counter() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 10  # on a machine that does other things, too
    assert peak < 200 << 20


def test_a_quotation_that_goes_on_for_ever_is_refused_soon(table):
    path = table(b'a,b\n1,"' + b"xxxxxxx\n" * (4 << 20))
    with within(20), pytest.raises(CohortError, match=r"cannot be read from line 2 on \(field larger than field limit"):
        read(path, ["a"])


def test_a_file_that_unpacks_to_more_than_any_table_is_refused(table, monkeypatch):
    monkeypatch.setattr(text_files, "MOST_CHARACTERS", 1 << 20)
    with pytest.raises(CohortError, match="has more than 1048576 characters, as no published table has"):
        read(table(gzip.compress(b"a,b\n" + b"1,2\n" * (1 << 19)), "table.csv.gz"), ["a"])


def test_a_file_of_more_lines_than_any_table_is_refused(table, monkeypatch):
    monkeypatch.setattr(text_files, "MOST_LINES", 1000)
    assert len(read(table(b"a\n" + b"1\n" * 999), ["a"])) == 999
    with pytest.raises(CohortError, match="has more than 1000 lines, as no published table has"):
        read(table(b"a\n" + b"1\n" * 1000), ["a"])


def test_a_table_of_more_values_than_any_is_refused(table, monkeypatch):
    """Ten thousand columns of nothing are packed to a thousandth."""
    monkeypatch.setattr(csv_files, "MOST_VALUES", 10_000)
    columns = ["a", *(f"c{number}" for number in range(99))]
    lines = ",".join(columns) + "\n" + (99 * "," + "\n") * 102
    with pytest.raises(CohortError, match="has more than 10000 values, as no published table has"):
        read(table(lines.encode()), ["a"], others=None)
    assert len(read(table(lines.encode()), ["a"])) == 102  # of those that are kept
