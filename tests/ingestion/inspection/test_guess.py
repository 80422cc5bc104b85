"""The description of an export is guessed from names in four languages and from what the columns hold."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohorts.described.description_file import parse_description
from ingestion.inspection import lexicon
from ingestion.inspection.columns import Column
from ingestion.inspection.describe import as_yaml
from ingestion.inspection.guess import Guess, guess_manifest
from ingestion.inspection.listing import list_folder
from ingestion.inspection.sheets import Sheet
from tests.cohorts.described.dicom.export import item, write_object, write_report
from tests.ingestion.inspection.conftest import guess_of, image_at, images_in, look, reports, table_at

MOST_LINES = 10  # of a description of a usual export
COUNT = 12


def check_yaml(guess: Guess) -> None:
    """The YAML is short, and says what was guessed."""
    text = as_yaml(guess, "")
    assert parse_description(text) == guess.description
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= MOST_LINES


def test_german_columns(german):
    guess = guess_of(german)
    check_yaml(guess)
    described = guess.description
    assert described.manifest == "Studien.csv"
    assert described.columns.image == "Bild"
    assert described.columns.facts() == {
        "patient": "PatNr",
        "study": "Untersuchungsnummer",
        "date": "Untersuchungsdatum",  # and not the day of birth
        "view": "Projektion",
        "sex": "Geschlecht",
        "age": "Alter",
    }
    assert described.report.sections == {"findings": "Befund", "impression": "Beurteilung"}
    assert described.labels.columns == {"Pneumothorax": "PTX", "Pleural Effusion": "Erguss"}
    assert guess.notes == {}


def test_french_columns_in_utf_16_with_a_table_in_a_folder_of_its_own(tmp_path):
    images_in(tmp_path / "images", COUNT)
    table_at(
        tmp_path / "tables" / "examens.tsv",
        {
            "chemin": [f"images/a{number}.png" for number in range(COUNT)],
            "IPP": [f"P{number // 3}" for number in range(COUNT)],
            "incidence": ["face", "profil"] * (COUNT // 2),
            "sexe": ["féminin", "masculin"] * (COUNT // 2),
            "date examen": [f"{number % 9 + 1:02}/{number % 8 + 1:02}/2020" for number in range(COUNT)],
            "compte rendu": reports("fr", COUNT),
        },
        "\t",
        "utf-16",
    )
    guess = guess_of(tmp_path)
    check_yaml(guess)
    described = guess.description
    assert (described.manifest, described.columns.patient) == ("tables/examens.tsv", "IPP")
    assert described.report.text == "compte rendu"
    assert described.values == {
        "sexe": {"féminin": "F", "masculin": "M"},
        "incidence": {"face": "FRONTAL"},
    }
    assert described.date_format == "%d/%m/%Y"
    assert "day or with the month first" in guess.notes["date_format"][0]


def test_spanish_columns_with_two_images_a_row_texts_in_files_and_findings_in_words(tmp_path):
    (tmp_path / "informes").mkdir()
    for number, text in enumerate(reports("es", COUNT)):
        (tmp_path / "informes" / f"{number}.txt").write_text(text)
    table_at(
        tmp_path / "export.csv",
        {
            "ruta": images_in(tmp_path / "img", COUNT),
            "ruta_lateral": images_in(tmp_path / "lat", COUNT),
            "id_paciente": range(COUNT),
            "informe": [f"informes/{number}.txt" for number in range(COUNT)],
            "Sexo": ["Hombre", "Mujer"] * (COUNT // 2),
            "diagnóstico": ["normal", "derrame", "neumonía;derrame", "otro"] * (COUNT // 4),
            "conjunto": ["entrenamiento"] * 8 + ["prueba"] * 4,
        },
        encoding="utf-8-sig",
    )
    guess = guess_of(tmp_path)
    check_yaml(guess)
    described = guess.description
    assert described.columns.image == {"FRONTAL": "ruta", "LATERAL": "ruta_lateral"}
    assert described.report.file == "informe"
    assert described.columns.split == "conjunto"
    assert described.values["conjunto"] == {"entrenamiento": "train", "prueba": "test"}
    assert described.labels.column == "diagnóstico"
    assert described.labels.values == {
        "normal": "No Finding",
        "derrame": "Pleural Effusion",
        "neumonía": "Pneumonia",
    }
    assert any("1 other words" in note for note in guess.notes["labels"])


def test_reports_and_boxes_in_tables_of_their_own(tmp_path):
    table_at(
        tmp_path / "images.csv",
        {
            "image_path": images_in(tmp_path / "img", COUNT),
            "AccessionNumber": [f"A{number // 2}" for number in range(COUNT)],
            "PatientID": [f"{number // 2}" for number in range(COUNT)],
            "ViewPosition": ["PA", "LL"] * (COUNT // 2),
            "ICU": ["1", "0"] * (COUNT // 2),
        },
    )
    table_at(
        tmp_path / "reports.csv",
        {"AccessionNumber": [f"A{number}" for number in range(6)], "ReportText": reports("en", 6)},
    )
    sides = {side: [1, 2] for side in ("x", "y", "w", "h")}
    table_at(tmp_path / "boxes.csv", {"image": ["img/a0.png", "img/a1.png"], "class": ["Mass", "Mass"], **sides})
    guess = guess_of(tmp_path)
    check_yaml(guess)
    described = guess.description
    assert (described.report.table, described.report.key) == ("reports.csv", "AccessionNumber")
    assert described.report.text == "ReportText"
    assert (described.boxes.table, described.boxes.label, described.boxes.width) == ("boxes.csv", "class", "w")
    assert described.labels.columns == {"ICU": "ICU"}
    assert "ICU" in guess.notes["labels"][0]
    assert described.columns.study == "AccessionNumber"


def test_paths_that_count_from_a_folder_of_images(tmp_path):
    images_in(tmp_path / "png", COUNT)
    table_at(
        tmp_path / "list.csv",
        {
            "file": [f"a{number}.png" for number in range(COUNT)],
            "patient": range(COUNT),
            "report": reports("en", COUNT),
            "license": ["Given by the hospital, for research alone, until the end of the year."] * COUNT,
        },
    )
    guess = guess_of(tmp_path)
    check_yaml(guess)
    assert guess.description.images == "png"
    assert guess.description.report.text == "report"
    assert any("counts as frontal" in note for note in guess.notes["columns"])


def test_what_is_doubtful_is_a_comment(tmp_path):
    table_at(
        tmp_path / "list.csv",
        {
            "file": images_in(tmp_path / "png", COUNT),
            "mask_file": images_in(tmp_path / "masks", COUNT),
            "age": ["unknowable"] * COUNT,
            "split": ["train"] * COUNT,
            "subset": ["train", "test"] * (COUNT // 2),
        },
    )
    guess = guess_of(tmp_path)
    text = as_yaml(guess, "")
    assert guess.description.columns.image == "file"
    assert guess.description.columns.patient == "none"
    for doubt in ("mask_file names masks", "No column names the patient", "'age' is called the age", "'subset' may be"):
        assert re.search(f"^# .*{re.escape(doubt)}", text, re.MULTILINE), doubt


def test_images_of_a_table_that_are_not_there_make_no_manifest(tmp_path):
    image_at(tmp_path / "b.png")
    table_at(tmp_path / "list.csv", {"file": ["x/a1.png", "x/a2.png"], "patient": [1, 2]})
    sheet = Sheet("list.csv", "", [Column("file", ["x/a1.png", "x/a2.png"])], 2)
    assert guess_manifest(sheet, [], list_folder(tmp_path, lambda line: None)) is None


def test_paths_that_climb_are_not_looked_for(tmp_path):
    image_at(tmp_path / "secret.png")
    (tmp_path / "export").mkdir()
    listing = list_folder(tmp_path / "export", lambda line: None)
    for paths in (["../secret.png"], [str(tmp_path / "secret.png")]):
        assert guess_manifest(Sheet("list.csv", "", [Column("file", paths)], 1), [], listing) is None


@pytest.mark.parametrize("kind", ["table", "files", "structured"])
def test_the_reports_of_a_dicom_tree_are_found(tmp_path, kind):
    texts = reports("en", 4)
    for number, text in enumerate(texts):
        write_object(tmp_path / f"P{number}" / f"IM{number}", number)
        if kind == "files":
            (tmp_path / "texts").mkdir(exist_ok=True)
            (tmp_path / "texts" / f"A{number:05d}.txt").write_text(text)
        if kind == "structured":
            write_report(tmp_path / f"P{number}" / "SR", number, [item("TEXT", "121071", "Finding", TextValue=text)])
    write_object(tmp_path / "knee.dcm", 9, BodyPartExamined="KNEE")
    if kind == "table":
        keys = [f"A{number:05d}" for number in range(4)]
        table_at(tmp_path / "Befunde.csv", {"Auftragsnummer": keys, "Befund": texts}, ";", "latin-1")
    found = look(tmp_path)
    assert found.export is not None
    assert found.export.kind == "DICOM tree"
    check_yaml(found.export.guess)
    report = found.export.guess.description.report
    assert (report.table, report.folder, report.sr) == {
        "table": ("Befunde.csv", "", False),
        "files": ("", "texts", False),
        "structured": ("", "", True),
    }[kind]
    archive = found.export.archive
    assert archive is not None
    assert archive.counts is not None
    assert archive.counts.usable == 4
    assert archive.counts.reports is not None
    assert archive.counts.reports.languages == {"English": 4}
    assert ("other_body_part", 1) in {(reason, count) for reason, _, count in archive.counts.rejects}


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).map(str.strip),
        st.lists(st.text(max_size=20), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_table_makes_yaml_that_says_what_was_guessed(tmp_path_factory, table):
    folder = tmp_path_factory.mktemp("any")
    image_at(folder / "a.png")
    named = {name: values for name, values in table.items() if name and name != "Bild"}
    columns = [
        Column("Bild", ["a.png"] * 3),
        *(Column(name, [v for v in values if v]) for name, values in named.items()),
    ]
    guess = guess_manifest(Sheet("t.csv", "", columns, 3), [], list_folder(folder, lambda line: None))
    assert guess is not None
    assert parse_description(as_yaml(guess, "")) == guess.description


@pytest.mark.parametrize(
    ("name", "role", "fit"),
    [
        ("PatientID", "patient", lexicon.WHOLE),
        ("study_date", "date", lexicon.WHOLE),
        ("Geburtsdatum", "date", 0),
        ("Date of birth", "date", 0),
        ("Fecha del estudio", "date", lexicon.WORD),
        ("Rückfrage", "patient", 0),
    ],
)
def test_names_of_columns(name, role, fit):
    assert lexicon.fit(name, role) == fit


def test_findings_by_other_names():
    assert lexicon.label_of("Épanchement pleural") == "Pleural Effusion"
    assert lexicon.label_of("pleural_effusion") == "Pleural Effusion"
    assert lexicon.label_of("Straße") == ""


def test_columns_without_text_are_left_out(tmp_path):
    columns = {"path": images_in(tmp_path / "img", 4), "subject": [1, 2, 3, 4], "vector": [[1.0]] * 4}
    pq.write_table(pa.table({**columns, "mass": [True, False, None, True]}), tmp_path / "t.parquet")
    described = guess_of(tmp_path).description
    assert (described.manifest, described.columns.image, described.columns.patient) == ("t.parquet", "path", "subject")
    assert described.labels.columns == {"Mass": "mass"}


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_paths_of_any_kind_are_looked_for_below_the_root_alone(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("paths")
    image_at(folder / "a.png")
    column = Column("file", ["a.png", *(f"{name}.png" for name in names)])
    guess = guess_manifest(Sheet("t.csv", "", [column], 1), [], list_folder(folder, lambda line: None))
    assert guess is not None or len(column.paths) == 0


def test_identifiers_of_eight_digits_are_no_dates(german):
    rows = [line.split(";") for line in (german / "Studien.csv").read_text("latin-1").splitlines()]
    place = rows[0].index("PatNr")
    for number, row in enumerate(rows[1:]):
        row[place] = f"{20200101 + number // 2}"
    (german / "Studien.csv").write_text("\n".join(map(";".join, rows)), "latin-1")
    assert guess_of(german).description.columns.patient == "PatNr"
