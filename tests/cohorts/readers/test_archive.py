"""Exports described by YAML: what rows become, and that nothing outside the root is opened."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import normalize

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.archive.listed_images import read_listed
from cohorts.described import manifest
from cohorts.errors import CohortError
from cohorts.readers.archive import Archive
from imaging.errors import ImageError
from report_parsing.errors import ReportError
from tests.cohorts.described.books import number, text, write_book
from tests.cohorts.scans import check

GERMAN = """
manifest: Aufnahmen.csv
columns: {image: Bild, patient: PatNr, study: Untersuchung, date: Datum, view: Projektion, sex: Geschlecht, age: Alter}
report: {text: Befund}
labels: {Pneumothorax: PTX}
"""
HEADER = ["Bild", "PatNr", "Untersuchung", "Datum", "Projektion", "Geschlecht", "Alter", "Befund", "PTX"]
ROW = ["b/1.png", "PAT-0001", "ACC-0001", "31.12.2020", "p.a.", "weiblich", "58,5", "Kein Erguß.\nHerz groß.", "1,0"]
USABLE = "manifest: m.csv\ncolumns: {image: Bild, patient: Pat}\n"


class Export:
    """A folder with images, a manifest and its description."""

    def __init__(self, folder: Path) -> None:
        self.root, self.home = folder / "export", folder / "home"
        self.root.mkdir(parents=True)

    def put(self, name: str, content: str | bytes = b"") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def table(self, name: str, rows: list[list[str]], separator: str = ",", encoding: str = "utf-8") -> None:
        stream = io.StringIO()
        csv.writer(stream, delimiter=separator).writerows(rows)
        self.put(name, stream.getvalue().encode(encoding))

    def open(self, description: str, views: tuple[str, ...] = ("frontal",)) -> Archive:
        return Archive(self.put("archive.yaml", description), views=views, home=self.home)

    def scan(self, description: str, views: tuple[str, ...] = ("frontal",)):
        return check(self.open(description, views).scan())


@pytest.fixture
def export(tmp_path) -> Export:
    return Export(tmp_path)


def reasons(scan) -> Counter[str]:
    return Counter(scan.rejects["reason"].to_pylist())


def changed(**cells: str) -> list[str]:
    """ROW with other cells."""
    return [cells.get(name, cell) for name, cell in zip(HEADER, ROW, strict=True)]


def with_images(export: Export, *rows: list[str], encoding: str = "latin-1") -> None:
    """A German manifest, separated by semicolons, and the images that it names."""
    export.table("Aufnahmen.csv", [HEADER, *rows], ";", encoding)
    for number_ in range(1, 10):
        export.put(f"b/{number_}.png")


def test_a_german_export_in_latin_1(export):
    with_images(export, ROW, changed(Bild="b\\2.png", Untersuchung="ACC-0002", Datum="02.01.2021", PTX=""))
    archive = export.open(GERMAN)
    first, second = check(archive.scan()).studies.to_pylist()
    assert (first["image_path"], first["view"], first["sex"], first["age"]) == ("b/1.png", "p.a.", "F", 58.5)
    assert (second["image_path"], dict(first["labels"]), dict(second["labels"])) == ("b/2.png", {"Pneumothorax": 1}, {})
    assert archive.read_report(first) == "FINDINGS: Kein Erguß.\nHerz groß."
    assert first["subject_id"] == second["subject_id"]
    assert first["study_id"] != second["study_id"]
    days = [date.fromisoformat(row["date"]) for row in (first, second)]
    assert (days[1] - days[0]).days == 2
    assert days[0] < date(2020, 12, 31)
    values = str({name: value for row in (first, second) for name, value in row.items() if name != "image_path"})
    assert not any(word in values for word in ("PAT-0001", "ACC-0001", "2020-12-31", "1.png"))


def test_reports_are_read_again_after_the_tables_were_released(export):
    export.table("Aufnahmen.csv", [HEADER, ROW])
    export.put("b/1.png")
    archive = export.open(GERMAN)
    (row,) = archive.scan().studies.to_pylist()
    first = archive.read_report(row)
    archive.release()
    assert not manifest._TEXTS
    assert archive.read_report(row) == first == "FINDINGS: Kein Erguß.\nHerz groß."


def test_identifiers_are_those_of_the_home(export, tmp_path):
    with_images(export, ROW)
    here, again = export.scan(GERMAN), export.scan(GERMAN)
    assert here.studies.equals(again.studies)
    export.home = tmp_path / "other"
    there = export.scan(GERMAN)
    for name in ("subject_id", "study_id", "image_id", "date"):
        assert here.studies[name].to_pylist() != there.studies[name].to_pylist()
    kept = export.scan(GERMAN + "dates: keep")
    assert kept.studies["date"].to_pylist() == ["2020-12-31"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"Bild": ""}, "no_path"),
        ({"Bild": "b/99.png"}, "missing_file"),
        ({"Bild": "../export/b/1.png"}, "path_outside_root"),
        ({"Bild": "..\\export\\b\\1.png"}, "path_outside_root"),
        ({"Bild": "/etc/passwd"}, "path_outside_root"),
        ({"Bild": "\\\\server\\share\\1.png"}, "path_outside_root"),
        ({"Bild": "C:\\Bilder\\1.png"}, "missing_file"),
        ({"Bild": '=HYPERLINK("http://x/1.png")'}, "missing_file"),
        ({"Bild": "b"}, "missing_file"),
        ({"Bild": "x" * 1_000_000}, "unusable_path"),
        ({"PatNr": ""}, "no_patient"),
        ({"PatNr": "nan"}, "no_patient"),
        ({"PatNr": "P" * 1_000_000}, "too_long"),
        ({"Untersuchung": ""}, "no_study"),
        ({"Projektion": "a;b"}, "views_unlike_paths"),
        ({"Projektion": "seitlich"}, "view_not_chosen"),
        ({"Datum": "31.02.2020"}, "bad_date"),
        ({"Geschlecht": "rot"}, "bad_sex"),
        ({"Alter": "gestern"}, "bad_age"),
        ({"PTX": "ja"}, "bad_label"),
        ({"PTX": "=1+0"}, "bad_label"),
        ({"Befund": " "}, "no_report"),
        ({"Bild": "b/1.png"}, "duplicate_image"),
    ],
)
def test_a_row_that_cannot_be_used_is_a_reject(export, cells, reason):
    with_images(export, ROW, changed(**{"Bild": "b/2.png", "Untersuchung": "ACC-0002", **cells}))
    found = export.scan(GERMAN)
    assert (found.source_rows, reasons(found)) == (2, {reason: 1})
    assert len(str(found.rejects.to_pylist())) < 2_000_000
    assert not {"PAT-0001", "ACC-0002"} & set(found.rejects.to_pylist()[0].values())


def test_what_says_nothing_is_no_mistake(export):
    with_images(export, changed(Datum="", Geschlecht="unbekannt", Alter="-", PTX=""))
    (row,) = export.scan(GERMAN).studies.to_pylist()
    assert (row["date"], row["sex"], row["age"], row["labels"]) == (None, None, None, [])


def test_words_that_look_alike_are_the_same_and_paths_stay(export):
    composed, apart = (normalize(form, "Müller Größe") for form in ("NFC", "NFD"))
    export.put(f"{apart}.png")
    export.put("2.png")
    export.table(
        "m.csv", [["Bild", f"{apart}", "Dx"], [f"{apart}.png", apart, apart], ["2.png", f"{composed}\u200b", "-"]]
    )
    found = export.scan(
        f"manifest: m.csv\ncolumns: {{image: Bild, patient: {composed}}}\n"
        f"labels: {{column: Dx, values: {{{composed}: Edema}}}}\n"
    )
    first, second = found.studies.to_pylist()
    assert first["subject_id"] == second["subject_id"]
    assert first["image_path"] == f"{apart}.png"
    assert dict(first["labels"]) == {"Edema": 1}


def test_words_mean_what_the_description_says(export):
    with_images(export, changed(Geschlecht="1", PTX="ja", Projektion="lat"), changed(Bild="b/2.png", PTX="nein"))
    described = GERMAN + "values: {Geschlecht: {1: M}, PTX: {ja: 1, nein: 0}, Projektion: {lat: AP}}"
    rows = export.scan(described).studies.to_pylist()
    assert [(row["sex"], dict(row["labels"])["Pneumothorax"]) for row in rows] == [("M", 1), ("F", 0)]
    with pytest.raises(CohortError, match=r"words of 'Ptx' mean, a column that it does not use"):
        export.scan(GERMAN + "values: {Ptx: {ja: 1}}")


def test_dates_that_can_be_read_in_two_ways_end_the_run(export):
    with_images(export, changed(Datum="03/04/2020"))
    with pytest.raises(CohortError, match=r"'Datum' can be read .*date_format"):
        export.scan(GERMAN)
    (row,) = export.scan(GERMAN + "date_format: '%d/%m/%Y'\ndates: keep").studies.to_pylist()
    assert row["date"] == "2020-04-03"


SECTIONS = """
manifest: m.csv
columns: {image: [Frontal, Lateral], view: View, patient: Patient, study: Study}
report: {sections: {findings: Findings, impression: Impression}}
"""


def test_several_images_per_study_with_sections(export):
    export.table(
        "m.csv",
        [
            ["Frontal", "Lateral", "View", "Patient", "Study", "Findings", "Impression"],
            ["1.png", "2.png", "PA;LATERAL", "p1", "s1", "Clear lungs.", ""],
            ["3.png|4.png", "", "AP", "p1", "s1", "", "Pneumothorax."],
            ["5.png", "6.png", "PA", "p2", "s1", "Clear lungs.", "Normal."],
        ],
    )
    for place in range(1, 7):
        export.put(f"{place}.png")
    archive = export.open(SECTIONS, ("frontal", "lateral"))
    found = check(archive.scan())
    assert reasons(found) == {"other_report": 2}
    rows = {row["image_path"]: row for row in found.studies.to_pylist()}
    assert {path: row["view"] for path, row in rows.items()} == {
        **{"1.png": "PA", "2.png": "LATERAL"},
        **{"5.png": "PA", "6.png": "PA"},
    }
    assert rows["1.png"]["study_id"] == rows["2.png"]["study_id"] != rows["5.png"]["study_id"]
    assert archive.read_report(rows["2.png"]) == "FINDINGS: Clear lungs."
    assert archive.read_report(rows["5.png"]) == "FINDINGS: Clear lungs.\n\nIMPRESSION: Normal."


def test_a_column_of_images_may_be_a_view(export):
    export.table("m.csv", [["A", "B", "Pat"], ["1.png", "2.png", "p"], ["3.png", "", "q"]])
    for place in range(1, 4):
        export.put(f"{place}.png")
    described = "manifest: m.csv\ncolumns: {image: {PA: A, LATERAL: B}, patient: Pat}"
    found = export.scan(described, ("frontal", "lateral"))
    assert found.studies["view"].to_pylist() == ["PA", "LATERAL", "PA"]
    assert found.notes == ()
    (note,) = export.scan(USABLE.replace("Bild", "A")).notes
    assert "every image counts as frontal" in note


def test_a_study_is_a_row_and_a_patient_where_the_description_says_so(export):
    export.table("m.csv", [["Bild"], ["1.png"], ["2.png;3.png"]])
    for place in range(1, 4):
        export.put(f"{place}.png")
    rows = export.scan("manifest: m.csv\ncolumns: {image: Bild, patient: none}").studies.to_pylist()
    assert len({row["study_id"] for row in rows}) == len({row["subject_id"] for row in rows}) == 2
    assert rows[1]["study_id"] == rows[2]["study_id"]


def test_splits_of_a_column_are_kept_and_no_patient_is_in_two(export):
    rows = [["1.png", "a", "Training"], ["2.png", "a", "valid"], ["3.png", "b", "TEST"], ["4.png", "c", "Holdout"]]
    export.table("m.csv", [["Bild", "Pat", "Teil"], *rows, ["5.png", "d", ""]])
    for place in range(1, 6):
        export.put(f"{place}.png")
    described = "manifest: m.csv\ncolumns: {image: Bild, patient: Pat, split: Teil}\n"
    found = export.scan(described)
    assert found.studies["split"].to_pylist() == ["validate", "test"]
    assert reasons(found) == {"in_later_split": 1, "bad_split": 1, "no_split": 1}
    found = export.scan(described + "values: {Teil: {Holdout: test}}")
    assert found.studies["split"].to_pylist() == ["validate", "test", "test"]


def test_splits_are_drawn_by_patient_in_the_given_shares(export):
    export.table("m.csv", [["Bild", "Pat"], *([f"{place}.png", f"p{place // 2}"] for place in range(400))])
    for place in range(400):
        export.put(f"{place}.png")
    drawn = Counter(export.scan(USABLE + "split: 50/25/25").studies["split"].to_pylist())
    assert drawn["train"] == pytest.approx(200, abs=50)
    assert drawn["validate"] == pytest.approx(100, abs=45)
    assert sum(drawn.values()) == 400
    with pytest.raises(CohortError, match=r"no split 'official'; choose 50/25/25"):
        Archive(export.root, "official", home=export.home)


def test_labels_may_be_words_of_a_column(export):
    cells = ["Erguss", "unauffällig", "Erguss; Pneu", "", "anderes"]
    export.table("m.csv", [["Bild", "Pat", "D"], *([f"{n}.png", f"p{n}", cell] for n, cell in enumerate(cells))])
    for place in range(5):
        export.put(f"{place}.png")
    labels = "labels: {column: D, values: {Erguss: Pleural Effusion, Pneu: Pneumonia, unauffällig: No Finding}}"
    found = [dict(labels) for labels in export.scan(USABLE + labels).studies["labels"].to_pylist()]
    assert found == [
        {"Pleural Effusion": 1, "No Finding": 0},
        {"Pleural Effusion": 0, "Pneumonia": 0, "No Finding": 1},
        {"Pleural Effusion": 1, "Pneumonia": 1, "No Finding": 0},
        {},
        {},
    ]
    with pytest.raises(CohortError, match="none of the words"):
        export.scan(USABLE + "labels: {column: D, values: {erguß: Pleural Effusion}}")


def test_cells_of_words_without_a_label_are_counted(export):
    cells = ["Erguss", "Erguss, Herz", "kein Erguss", "", "Herz; Erguss"]
    export.table("m.csv", [["Bild", "Pat", "Dx"], *([f"{place}.png", "P", cell] for place, cell in enumerate(cells))])
    scan = export.scan(USABLE + "labels: {column: Dx, values: {Erguss: Pleural Effusion}}\n")
    assert [note for note in scan.notes if note.startswith("2 rows have words in 'Dx'")]


def test_boxes_of_a_table_of_their_own(export):
    export.table("m.csv", [["Bild", "Pat"], ["b/1.png", "p"], ["b/2.png", "q"], ["b/3.png", "r"]])
    boxes = [["b\\1.png", "PTX", "1,5", "2", "10", "20"], ["b/1.png", "PTX", "5", "5", "5", "5"]]
    export.table("boxes.csv", [["B", "L", "x", "y", "w", "h"], *boxes, ["b/2.png", "PTX", "1", "2", "-3", "4"]], ";")
    for place in range(1, 4):
        export.put(f"b/{place}.png")
    described = USABLE + "boxes: {table: boxes.csv, image: B, label: L, x: x, y: y, width: w, height: h}"
    found = export.scan(described)
    assert reasons(found) == {"bad_box": 1}
    first, third = found.studies["boxes"].to_pylist()
    assert first == [
        {"label": "PTX", "x": 1.5, "y": 2, "width": 10, "height": 20},
        {"label": "PTX", "x": 5, "y": 5, "width": 5, "height": 5},
    ]
    assert third is None
    mapped = export.scan(described + "\nvalues: {L: {PTX: Pneumothorax}}").studies["boxes"].to_pylist()[0]
    assert {box["label"] for box in mapped} == {"Pneumothorax"}
    export.table("boxes.csv", [["B", "L", "x", "y", "w", "h"], ["1.png", "PTX", "1", "2", "3", "4"]])
    with pytest.raises(CohortError, match=r"names no image of m\.csv in its column 'B'"):
        export.scan(described)


def test_boxes_in_the_manifest(export):
    export.table("m.csv", [["Bild", "Pat", "L", "x"], ["1.png", "p", "PTX", "3"], ["2.png", "q", "", ""]])
    for place in range(1, 3):
        export.put(f"{place}.png")
    found = export.scan(USABLE + "boxes: {label: L, x: x, y: x, width: x, height: x}").studies["boxes"].to_pylist()
    assert found == [[{"label": "PTX", "x": 3, "y": 3, "width": 3, "height": 3}], None]


def reports_of(archive: Archive) -> list[str]:
    found = []
    for row in check(archive.scan()).studies.to_pylist():
        try:
            found.append(archive.read_report(row))
        except ReportError as error:
            found.append(error.reason)
    return found


def test_reports_in_text_files_below_the_root_alone(export, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    names = ["r/1.txt", "r/2.txt", "r/link.txt", "../secret.txt", str(tmp_path / "secret.txt"), "r/none.txt", ""]
    export.table("m.csv", [["Bild", "Pat", "R"], *([f"{n}.png", f"p{n}", name] for n, name in enumerate(names))])
    for place in range(len(names)):
        export.put(f"{place}.png")
    export.put("r/1.txt", "FINDINGS: Clear.")
    export.put("r/2.txt", "Befund: Kein Erguß.".encode("latin-1"))
    (export.root / "r" / "link.txt").symlink_to(tmp_path / "secret.txt")
    archive = export.open(USABLE + "report: {file: R}")
    assert reports_of(archive) == ["FINDINGS: Clear.", "Befund: Kein Erguß.", "unreadable_report"]
    assert reasons(archive.scan()) == {"path_outside_root": 2, "missing_report": 1, "no_report": 1}


def test_reports_joined_by_a_key(export):
    export.table("m.csv", [["Bild", "Pat", "Acc"], ["1.png", "p", "a1"], ["2.png", "q", "a2"], ["3.png", "r", "a3"]])
    export.table(
        "r.csv", [["Acc", "Text"], ["a2", "Clear."], ["a1", "Effusion."], ["a1", "Effusion."], ["a9", "x"]], ";"
    )
    for place in range(1, 4):
        export.put(f"{place}.png")
    archive = export.open(USABLE + "report: {table: r.csv, key: Acc, text: Text}")
    assert reports_of(archive) == ["FINDINGS: Effusion.", "FINDINGS: Clear."]
    assert reasons(archive.scan()) == {"no_report": 1}
    export.put("reports/a3.txt", "Normal.")
    archive = export.open(USABLE + "report: {folder: reports, key: Acc}")
    assert reports_of(archive) == ["FINDINGS: Normal."]
    export.table("r.csv", [["Acc", "Text"], ["a1", "Clear."], ["a1", "Effusion."]])
    with pytest.raises(CohortError, match=r"several reports for 1 of its keys in 'Acc'"):
        export.scan(USABLE + "report: {table: r.csv, key: Acc, text: Text}")


@pytest.mark.parametrize("kind", ["parquet", "xlsx", "tsv"])
def test_the_same_rows_of_another_format_are_the_same_studies(export, kind):
    rows = [["1.png", "0017", "2020-01-02"], ["2.png", "0018", "2020-01-03"]]
    for place in range(1, 3):
        export.put(f"{place}.png")
    export.table("m.csv", [["Bild", "Pat", "Tag"], *rows])
    described = "manifest: m.csv\ncolumns: {image: Bild, patient: Pat, date: Tag}"
    first = export.scan(described)
    if kind == "parquet":
        columns = list(zip(*rows, strict=True))
        days = pa.array([date.fromisoformat(day) for day in columns[2]])
        pq.write_table(pa.table([columns[0], columns[1], days], ["Bild", "Pat", "Tag"]), export.root / "m.parquet")
    elif kind == "xlsx":
        cells = [[text(row[0]), text(row[1]), number(43832.0 + place, 1)] for place, row in enumerate(rows)]
        write_book(export.root / "m.xlsx", [[text(name) for name in ("Bild", "Pat", "Tag")], *cells])
    else:
        export.table("m.tsv", [["Bild", "Pat", "Tag"], *rows], "\t", "utf-8-sig")
    found = export.scan(described.replace("m.csv", f"m.{kind}"))
    assert found.studies.equals(first.studies)


def test_a_manifest_of_nothing_usable_ends_in_one_sentence(export):
    with pytest.raises(CohortError, match=r"no table m\.csv"):
        export.scan(USABLE)
    export.table("m.csv", [["Bild", "Pat"]])
    assert export.scan(USABLE).source_rows == 0
    export.table("m.csv", [["bild", "Pat"]])
    with pytest.raises(CohortError, match=r"no column 'Bild' \(did you mean `bild`\?\)"):
        export.scan(USABLE)


def test_paths_with_identifiers_are_told(export):
    export.table("m.csv", [["Bild", "Pat"], ["PAT-0001/1.png", "PAT-0001"], ["2.png", "PAT-0002"]])
    export.put("PAT-0001/1.png")
    export.put("2.png")
    assert any("The paths of 1 images hold the identifier" in note for note in export.scan(USABLE).notes)


def test_nothing_outside_the_root_is_opened(export, tmp_path, monkeypatch):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.png").write_bytes(b"x")
    (export.root / "link").symlink_to(tmp_path / "outside")
    names = ["link/1.png", "../outside/1.png", str(tmp_path / "outside/1.png"), "link/../../outside/1.png", "1.png"]
    export.table("m.csv", [["Bild", "Pat"], *([name, f"p{n}"] for n, name in enumerate(names))])
    export.put("1.png")
    opened, real = [], os.open
    monkeypatch.setattr(os, "open", lambda path, *args, **kwargs: opened.append(path) or real(path, *args, **kwargs))
    found = export.scan(USABLE)
    assert reasons(found) == {"path_outside_root": 3}  # links are followed when an image is opened
    (linked, _) = found.studies.to_pylist()
    failure = read_listed(export.root, linked["image_path"], None, pytest.fail)
    assert isinstance(failure, ImageError)
    assert failure.reason == "path_outside_root"
    inside = (str(export.root), str(export.home))
    assert {os.fsdecode(path) for path in opened if not os.path.realpath(path).startswith(inside)} == set()


WORDS = st.sampled_from(
    ["", "1.png", "2.png", "../1.png", "1.png;2.png", "a\\b", "p", "x" * 300, "Training", "test", "PA"]
)
CELLS = WORDS | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=9, max_size=9), max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_row_of_anything_is_a_study_or_a_reject(rows):
    names = ["Bild", "Pat", "Study", "Tag", "View", "Sex", "Age", "Text", "PTX"]
    described = """manifest: m.csv
columns: {image: Bild, patient: Pat, study: Study, view: View, sex: Sex, age: Age, split: Tag}
report: {text: Text}
labels: {Pneumothorax: PTX}
"""
    with TemporaryDirectory() as folder:
        export = Export(Path(folder))
        export.put("1.png")
        export.put("2.png")
        export.table("m.csv", [names, *rows])
        found = export.scan(described, ("frontal", "lateral", "unknown"))
        filled = [row for row in rows if any(cell.strip() for cell in row)]
        assert found.source_rows == sum(
            max(1, sum(map(bool, map(str.strip, row[0].replace("|", ";").split(";"))))) for row in filled
        )
        assert all((export.root / path).is_file() for path in found.studies["image_path"].to_pylist())
