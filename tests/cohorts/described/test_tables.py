"""Tables are read as they were written: any separator, encoding and format, quoted newlines and blank rows."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.described.tables import column_names, number_text, read_table, table_path
from cohorts.errors import CohortError
from tests.cohorts.described.books import text, write_book

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"]
CELLS = st.text(st.sampled_from('abÄß"\n ;,\t|=+-1'), max_size=8).map(str.strip)


def test_columns_are_found_by_how_their_names_look(tmp_path):
    apart = normalize("NFD", "Größe")
    path = write_csv(tmp_path / "a.csv", [[f"{apart}\u00a0in  cm", "x"], ["1", "2"]], ";")
    assert read_table(path, ["Größe in cm"]).to_dict("list") == {"Größe in cm": ["1"]}
    twice = write_csv(tmp_path / "b.csv", [[apart, "Größe"], ["1", "2"]], ";")
    with pytest.raises(CohortError, match="two columns 'Größe'"):
        read_table(twice, ["Größe"])


def write_csv(path: Path, rows: list[list[str]], separator: str, encoding: str = "utf-8") -> Path:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator).writerows(rows)
    content = stream.getvalue().encode(encoding, "replace")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["a.csv", "a.tsv", "a.txt.gz"]),
)
@settings(max_examples=60, deadline=None)
def test_a_text_table_is_read_as_it_was_written(rows, separator, encoding, name):
    header = ["Bild", "PatNr", "Größe"]
    with TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / name, [header, *rows], separator, encoding)
        assert column_names(path) == header
        found = read_table(path, ["Größe", "Bild", "PatNr"])
    assert found[header].to_numpy().tolist() == [row for row in rows if any(row)]


@given(
    st.lists(st.tuples(CELLS, st.integers(), st.dates(), st.booleans(), st.none() | st.floats(-1e6, 1e6)), max_size=5)
)
@settings(max_examples=30, deadline=None)
def test_parquet_is_read_as_text(rows):
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = [
        pa.string(),
        pa.int64() if all(abs(one) < 1 << 63 for one in columns[1]) else None,
        pa.date32(),
        pa.bool_(),
    ]
    if kinds[1] is None:
        return
    arrays = [pa.array(values, kind) for values, kind in zip(columns, [*kinds, pa.float64()], strict=True)]
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, ["text", "number", "day", "yes", "share"]), stream)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.bin"
        path.write_bytes(stream.getvalue().to_pybytes())
        found = read_table(path, ["text", "number", "day", "yes", "share"])
    assert found.to_numpy().tolist() == [
        [word, str(count), day.isoformat(), str(int(yes)), number_text(share)] for word, count, day, yes, share in rows
    ]


def test_categories_and_times_of_parquet_are_text(tmp_path):
    table = pa.table({"a": pa.array(["x", None, "x"]).dictionary_encode(), "b": [datetime(2020, 1, 2, 3, 4)] * 3})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", ["a", "b"]).to_numpy().tolist() == [
        [word, "2020-01-02 03:04:00.000000"] for word in ("x", "", "x")
    ]


@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"\xff", b"a"]])
def test_nested_and_binary_values_of_parquet_are_refused(tmp_path, values):
    pq.write_table(pa.table({"Bild": ["a", "b"], "x": values}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", ["Bild"])["Bild"].tolist() == ["a", "b"]
    with pytest.raises(CohortError, match=r"values of the type .* in the column 'x'"):
        read_table(tmp_path / "a.parquet", ["x"])


def test_damaged_parquet_is_said(tmp_path):
    pq.write_table(pa.table({"a": [date(2020, 1, 2)] * 100}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(content[:-9])
    (tmp_path / "c.parquet").write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    for name in ("b.parquet", "c.parquet"):
        with pytest.raises(CohortError, match=r"damaged"):
            read_table(tmp_path / name, ["a"])


def test_a_column_that_is_not_there_is_said_with_the_one_that_is_meant(tmp_path):
    path = write_csv(tmp_path / "a.csv", [["Bild", "PatNr", "x", "x"], ["a", "b", "c", "d"]], ";")
    book = write_book(tmp_path / "a.xlsx", [[text("Bild"), text("PatNr")]])
    for table in (path, book):
        with pytest.raises(CohortError, match=r"no column 'Patnr' \(did you mean `PatNr`\?\)"):
            read_table(table, ["Bild", "Patnr"])
    with pytest.raises(CohortError, match="two columns 'x'"):
        read_table(path, ["x"])


def test_rows_without_any_value_are_no_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Bild;PatNr\n;\n\na;1\n ; \n;2\n;;\n")
    assert read_table(path, ["Bild", "PatNr"]).to_numpy().tolist() == [["a", "1"], ["", "2"]]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"Bild;PatNr\na;1\nb;2;3\n", "3 values in line 3 instead of 2"),
        (b'Bild;PatNr\na;"1\nb;2\n', "a quotation in line 2 that is never closed"),
        (b"Bild;PatNr\na\0;1\n", "no text in line 2"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no column 'Bild'"),
        (b"GIF89a" + bytes(range(256)) * 10, "no text in line"),
        (b"\xd0\xcf\x11\xe0 old", "save its sheet as CSV"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"Bild" + b";x" * 20_000, "20001 columns"),
        (b"x" * (2 << 20), "of more than 1048576 characters"),
        (b"", "no column 'Bild'"),
    ],
    ids=["long row", "open quotation", "NUL", "PNG", "binary", "old workbook", "PDF", "wide", "long line", "empty"],
)
def test_what_is_no_table_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "studies.csv").write_bytes(content)
    with pytest.raises(CohortError, match=sentence) as caught:
        read_table(tmp_path / "studies.csv", ["Bild", "PatNr"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../studies.csv", "/etc/passwd", "link.csv", "a\0b"])
def test_a_table_outside_the_root_is_not_opened(tmp_path, name):
    (tmp_path / "studies.csv").write_text("Bild\n")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link.csv").symlink_to(tmp_path / "studies.csv")
    with pytest.raises(CohortError, match="does not lie below"):
        table_path(tmp_path / "root", name)
    with pytest.raises(CohortError, match=r"no table studies\.csv"):
        table_path(tmp_path / "root", "studies.csv")
