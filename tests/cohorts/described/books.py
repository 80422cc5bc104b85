"""Writes small Excel workbooks, cell by cell, as other programs would."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DATE_STYLE, OWN_DATE_STYLE, PLAIN_STYLE = 1, 2, 3
STYLES = (
    f'<styleSheet {MAIN}><numFmts count="2"><numFmt numFmtId="164" formatCode="dd\\.mm\\.yyyy;@"/>'
    '<numFmt numFmtId="165" formatCode="0.00&quot; days&quot;"/></numFmts>'
    '<cellXfs count="4"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs>'
    "</styleSheet>"
)


def text(value: str) -> str:
    """A cell with its text in place."""
    return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'


def shared(place: int) -> str:
    """A cell with the text at a place of the shared ones."""
    return f'<c t="s"><v>{place}</v></c>'


def number(value: float, style: int = 0) -> str:
    """A cell with a number in a style."""
    return f'<c s="{style}"><v>{value!r}</v></c>'


def formula(code: str, value: str) -> str:
    """A cell with a formula, and the value that was stored for it."""
    return f'<c t="str"><f>{escape(code)}</f><v>{escape(value)}</v></c>'


def write_book(
    path: Path,
    rows: Sequence[Sequence[str]],
    sheet: str = "Tabelle1",
    shared_texts: Sequence[str] = (),
    others: Mapping[str, str | bytes] | None = None,
    old_dates: bool = False,
) -> Path:
    """A workbook with one sheet of cells, which are given as XML; `others` are further parts, or take their place."""
    body = "".join(f"<row>{''.join(row)}</row>" for row in rows)
    items = "".join(f"<si><r><t>{escape(one[:1])}</t></r><r><t>{escape(one[1:])}</t></r></si>" for one in shared_texts)
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="{RELATIONS}"><workbookPr date1904="{int(old_dates)}"/>'
        f'<sheets><sheet name={quoteattr(sheet)} sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relation'
        f'ships"><Relationship Id="rId1" Type="{RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f"<worksheet {MAIN}><sheetData>{body}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {MAIN}>{items}</sst>",
        "xl/styles.xml": STYLES,
        **(others or {}),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in parts.items():
            book.writestr(name, content)
    return path
