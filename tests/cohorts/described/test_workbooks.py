"""Sheets of workbooks are read as text, and nothing in them is run, unfolded or followed."""

from __future__ import annotations

import zipfile

import pytest

from cohorts.described import workbooks
from cohorts.described.tables import column_names, read_table
from cohorts.errors import CohortError
from tests.cohorts.described.books import (
    DATE_STYLE,
    MAIN,
    OWN_DATE_STYLE,
    PLAIN_STYLE,
    formula,
    number,
    shared,
    text,
    write_book,
)

HEADER = [text("Bild"), text("PatNr"), text("Datum")]


def test_cells_of_every_kind_are_text(tmp_path):
    book = write_book(
        tmp_path / "a.xlsx",
        [
            HEADER,
            [shared(0), number(4711.0), number(43832.75, DATE_STYLE)],
            [],
            [text(" b_x005F_x000D_.png "), number(1.5), number(43832.0, OWN_DATE_STYLE)],
            [formula('HYPERLINK("http://x","y")', "c.png"), '<c t="b"><v>1</v></c>', number(43832.0, PLAIN_STYLE)],
            ['<c t="e"><v>#REF!</v></c>', "<c/>", '<c t="s"><v>99</v></c>'],
        ],
        shared_texts=["Äb.png"],
    )
    table = read_table(book, ["PatNr", "Bild", "Datum"])
    assert table.to_numpy().tolist() == [
        ["4711", "Äb.png", "2020-01-02"],
        ["1.5", "b_x000D_.png", "2020-01-02"],
        ["1", "c.png", "43832"],
    ]


def test_dates_count_from_1904_where_the_workbook_says_so(tmp_path):
    rows = [HEADER, [text("a"), text("1"), number(42370.0, DATE_STYLE)]]
    assert read_table(write_book(tmp_path / "a.xlsx", rows, old_dates=True), ["Datum"])["Datum"].tolist() == [
        "2020-01-02"
    ]


def test_cells_stand_where_their_references_say(tmp_path):
    row = ['<c r="C2" t="inlineStr"><is><t>x</t></is></c>', '<c t="inlineStr"><is><t>behind</t></is></c>']
    book = write_book(tmp_path / "a.xlsx", [HEADER, row])
    assert read_table(book, ["Bild", "Datum"]).to_numpy().tolist() == [["", "x"]]


def test_a_sheet_is_chosen_by_its_name(tmp_path):
    book = write_book(tmp_path / "a.xlsx", [HEADER], sheet="Thorax & Co")
    assert column_names(book, "Thorax & Co") == column_names(book) == ["Bild", "PatNr", "Datum"]
    with pytest.raises(CohortError, match=r"no sheet 'Torax'; it has Thorax & Co"):
        column_names(book, "Torax")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"xl/worksheets/sheet1.xml": f"{BOMB}<worksheet {MAIN}><sheetData/></worksheet>"}, "declares XML entities"),
        ({"xl/sharedStrings.xml": f"{OUTSIDE}<sst {MAIN}><si><t>&a;</t></si></sst>"}, "declares XML entities"),
        ({"xl/worksheets/sheet1.xml": "<worksheet><row><c>"}, "a part that is no XML"),
        ({"xl/_rels/workbook.xml.rels": "<Relationships/>"}, "no sheet with cells"),
    ],
)
def test_hostile_parts_end_in_one_sentence(tmp_path, parts, sentence):
    with pytest.raises(CohortError, match=sentence):
        read_table(write_book(tmp_path / "a.xlsx", [HEADER], others=parts), ["Bild"])


def test_a_part_in_utf_16_is_refused_as_its_entities_would_not_be_seen(tmp_path):
    part = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "unfolded">]>'
    part += f"<worksheet {MAIN}><sheetData><row>{text('Bild')}</row><row>{text('@')}</row></sheetData></worksheet>"
    path = tmp_path / "a.xlsx"
    write_book(path, [HEADER], others={"xl/worksheets/sheet1.xml": part.replace("@", "&a;").encode("utf-16")})
    with pytest.raises(CohortError, match="not in UTF-8"):
        read_table(path, ["Bild"])


def test_packed_zeros_and_wide_sheets_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbooks, "MOST_BYTES", 100_000)
    packed = write_book(tmp_path / "a.xlsx", [HEADER, [text("a" * 200_000)]])
    assert packed.stat().st_size < 10_000
    with pytest.raises(CohortError, match="unpacks to more than"):
        read_table(packed, ["Bild"])
    wide = write_book(tmp_path / "b.xlsx", [HEADER, ['<c r="ZZZ1"><v>1</v></c>']])
    with pytest.raises(CohortError, match="more than 16384 columns"):
        read_table(wide, ["Bild"])


def test_a_row_or_a_cell_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workbooks, "MOST_ELEMENTS", 1000)
    monkeypatch.setattr(workbooks, "LONGEST_TEXT", 200_000)
    rows = [[text("a"), text("1"), text("2")] for _ in range(2000)]
    assert len(read_table(write_book(tmp_path / "many.xlsx", [HEADER, *rows]), ["Bild"])) == 2000
    for name, row in {"wide": ["<c/>"] * 60_000, "long": [text("a" * 400_000)]}.items():
        with pytest.raises(CohortError, match="far larger than those of a sheet"):
            read_table(write_book(tmp_path / f"{name}.xlsx", [HEADER, row, *rows]), ["Bild"])


def test_other_zip_files_are_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as book:
        book.writestr("../../etc/passwd", "x")
    with pytest.raises(CohortError, match="a zip file and no Excel workbook"):
        read_table(tmp_path / "a.zip", ["Bild"])
    broken = write_book(tmp_path / "b.xlsx", [HEADER])
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(CohortError, match="no Excel workbook that can be read"):
        read_table(broken, ["Bild"])
