"""A description is read as text, and each mistake in it is one sentence with the line or the key."""

from __future__ import annotations

from dataclasses import fields

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cohorts.described.description import HEADINGS, BoxSource, Columns, Description, LabelSource, ReportSource
from cohorts.described.description_file import files_root, keep_description, parse_description, read_description
from cohorts.errors import CohortError
from report_parsing.reports import COLUMNS

WHOLE = """
root: /data/export
manifest: studies.csv
columns: {image: {PA: Bild 1, LATERAL: Bild 2}, patient: PatNr, study: Untersuchung, date: Datum, age: Alter}
report: {sections: {findings: Befund, impression: Beurteilung}}
labels: {Pneumothorax: PTX, "No": nein}
boxes: {table: boxes.csv, image: Bild, label: Befund, x: x, y: y, width: w, height: h}
values: {PTX: {ja: 1, no: 0}, Alter: {unbekannt: ~}}
split: 80/10/10
dates: keep
date_format: "%d/%m/%Y"
"""
USABLE = "manifest: a.csv\ncolumns: {image: Bild, patient: Pat}\n"


def test_every_value_is_text():
    assert parse_description(WHOLE) == Description(
        root="/data/export",
        manifest="studies.csv",
        columns=Columns({"PA": "Bild 1", "LATERAL": "Bild 2"}, "PatNr", "Untersuchung", date="Datum", age="Alter"),
        report=ReportSource(sections={"findings": "Befund", "impression": "Beurteilung"}),
        labels=LabelSource(columns={"Pneumothorax": "PTX", "No": "nein"}),
        boxes=BoxSource("boxes.csv", "Bild", "Befund", "x", "y", "w", "h"),
        values={"PTX": {"ja": "1", "no": "0"}, "Alter": {"unbekannt": ""}},
        split="80/10/10",
        dates="keep",
        date_format="%d/%m/%Y",
    )


def test_labels_may_be_words_of_a_column():
    found = parse_description(USABLE + "labels: {column: Diagnose, values: {Erguss: Pleural Effusion}}")
    assert found.labels == LabelSource(column="Diagnose", values={"Erguss": "Pleural Effusion"})


def test_images_are_in_one_column_or_in_several():
    for given_image, columns in (
        ("Bild", (("", "Bild"),)),
        ("[A, B]", (("", "A"), ("", "B"))),
        ("{PA: A}", (("PA", "A"),)),
    ):
        text = f"manifest: a.csv\ncolumns: {{image: {given_image}, patient: none}}"
        assert parse_description(text).columns.images() == columns


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("manifst: a.csv", r"line 1, has the key `manifst`, .*did you mean `manifest`"),
        ("manifest: a\ncolumns: {imgae: Bild}", r"line 2, has the key `imgae` in `columns`.*`image`"),
        (USABLE + "manifest: b.csv", "line 3, has the key `manifest` twice"),
        ("manifest: a\ncolumns: {patient: P}", "no column with the paths of the images"),
        ("manifest: a\ncolumns: {image: B}", r"must not be in two splits.*patient: none"),
        (USABLE + "split: 70", r"`split: 70`.*70/10/20"),
        (USABLE + "split: 0/0/0", "`split: 0/0/0`"),
        (USABLE + f"split: {'9' * 400}/1/1", "such as 70/10/20"),
        (USABLE + "date_format: '%H'", r"`date_format: %H`, which has no year"),
        (USABLE + "date_format: '%d.%m.%Q'", "which has no year"),
        (USABLE + "dates: move", "choose shift or keep"),
        (USABLE + "sheet: [a]", "line 3, needs a single value at `sheet`"),
        (USABLE + "report: Befund", "line 3, needs keys with values below `report`"),
        (USABLE + "report: {text: a, file: b}", "several ways, text and file"),
        (USABLE + "report: {table: a.csv, text: b}", "needs `key`"),
        (USABLE + "report: {folder: a}", "needs `key`"),
        (USABLE + "report: {sections: {finding: a}}", r"section finding, .*did you mean `findings`"),
        (USABLE + "report: {sr: maybe}", "neither true nor false"),
        (USABLE + "labels: {column: a}", "needs both"),
        (USABLE + "boxes: {label: a, x: b}", "without y, width, height"),
        (USABLE + "values: {a: [1]}", "needs keys with values below `values: a`"),
        ("a: [", "is no YAML in line"),
        ("[" * 10_000, "beyond all measure"),
        ("? [a]\n: b", "needs a single value"),
        ("root: !!python/object/apply:os.system ['true']", "needs a single value at `root`"),
        ("a: " + "x" * 300_000, "more than 262144 characters"),
    ],
)
def test_a_mistake_is_one_sentence(text, sentence):
    with pytest.raises(CohortError, match=sentence) as caught:
        parse_description(text, "archive.yaml")
    assert "\n" not in str(caught.value)


def test_aliases_do_not_unfold():
    text = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    with pytest.raises(CohortError, match="has the key `a0`"):
        parse_description(text)


@given(st.recursive(st.text(max_size=8), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner)))
def test_any_yaml_is_a_description_or_one_sentence(value):
    found: Description | CohortError
    try:
        found = parse_description(yaml.safe_dump({"manifest": value, "columns": value}))
    except CohortError as error:
        found = error
    assert isinstance(found, Description) or "\n" not in str(found)


def test_the_root_is_that_of_the_file_unless_it_names_another(tmp_path):
    path = tmp_path / "archive.yaml"
    assert files_root(tmp_path) == tmp_path
    path.write_text(USABLE)
    assert files_root(tmp_path) == files_root(path) == tmp_path
    path.write_text(USABLE + "root: bilder")
    assert files_root(tmp_path) == files_root(path) == tmp_path / "bilder"
    path.write_text(USABLE + "root: /somewhere/else")
    assert str(files_root(tmp_path)) == "/somewhere/else"
    path.write_bytes(USABLE.encode() + b"sheet: \xe4")
    with pytest.raises(CohortError, match="no text in UTF-8"):
        read_description(path)


def test_a_description_of_a_launchpad_is_kept_by_its_content(tmp_path):
    text = USABLE + "root: /data"
    path = keep_description(text, tmp_path / "kept")
    assert read_description(path).root == "/data"
    assert keep_description(text, tmp_path / "kept") == path
    assert keep_description(text + "/other", tmp_path / "kept") != path
    with pytest.raises(CohortError, match="no absolute folder"):
        keep_description(USABLE, tmp_path / "kept")


def test_sections_with_columns_are_those_that_are_parsed():
    assert set(HEADINGS) == set(COLUMNS) - {"last_paragraph"}
    assert {item.name for item in fields(LabelSource)} == {"columns", "column", "values"}
