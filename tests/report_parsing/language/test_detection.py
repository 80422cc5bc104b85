"""No report of another language is taken for English, however short, and no English one for foreign."""

from pathlib import Path

import pytest

from report_parsing.language.detection import ENGLISH, UNKNOWN, language_name, language_of
from report_parsing.language.gloss import is_parsed
from tests.report_parsing.test_real_sections import read_csv

REPORTS = Path(__file__).with_name("reports")  # written for this test, one a line
LANGUAGES = ("de", "fr", "es", "nl", "pt", "it", "pl")
CLOSE = {"pt": {"es"}, "nl": {"de"}}  # languages that share all words of some short reports
# Said with words and abbreviations that English has too; what they say is read as it is meant.
EQUAL = ("Pneumothorax : absent.", "ICT < 0,5.", "CVC en cava superior.", "No edema.", "Status na CABG.")


def lines(name):
    return (REPORTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("code", LANGUAGES)
def test_languages(code):
    reports = [line for line in lines(code) if line not in EQUAL]
    found = {line: language_of(line) for line in reports}
    assert len(reports) >= 40
    assert {line for line in reports if found[line] not in {code} | CLOSE.get(code, set())} == set()
    assert sum(found[line] == code for line in reports) >= 0.85 * len(reports)


def test_other_languages_are_not_english():
    for line in lines("others"):
        code, report = line.split(" ", 1)
        assert language_of(report) != ENGLISH, report
        assert (language_of(report) == UNKNOWN) == (code == UNKNOWN), report


def test_english_is_never_foreign():
    assert {line: language_of(line) for line in lines("en")} == dict.fromkeys(lines("en"), ENGLISH)


def test_real_reports_are_english(shared_data):
    path = shared_data / "openi_reports" / "dev.csv"
    if not path.exists():
        pytest.skip("openi_reports is not among the shared data")
    texts = {text for row in read_csv(path) for text in (*row.values(), f"{row['findings']} {row['impression']}")}
    assert {text for text in texts if language_of(text) != ENGLISH} == set()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("___", "en"),
        ("KEIN PNEUMOTHORAX", "de"),
        ("Kein Pneu\u00admo\u200bthorax", "de"),
        ("Ｓｉｎ derrame", "es"),
        ("No hay derrame. No edema.", "es"),
        ("The lungs are clear. Spanish: pulmones claros.", "en"),  # more of its words are English
        ("Bilateral α-emitting seeds, 5 µm.", "en"),
        ("Pacientas guli, lungs clear", "en"),
        ("Niega edema.", "es"),
        ("Libre de edema.", "es"),
        ("Clinica Alemana de Santiago. Normal chest.", "en"),  # names
        ("Seen in Clínica Universidad de Navarra. Pneumonia.", "en"),
        ("Outside film from Hospital General de México. Small left effusion.", "en"),
        ("Santa Casa de Misericordia de São Paulo. No effusion.", "en"),
        ("Charité Universitätsmedizin Berlin. No pneumothorax.", "en"),
        ("HOSPITAL UNIVERSITARIO DE LA PAZ. NO PNEUMOTHORAX.", "en"),
        ("Hospital Universitario La Paz. Sin derrame pleural.", "es"),
        ("Radiografía de Tórax. Sin Derrame Pleural.", "es"),
    ],
)
def test_what_decides(text, language):
    assert language_of(text) == language


def test_names_and_what_is_parsed():
    assert (language_name("de"), language_name(UNKNOWN)) == ("German", "an unknown language")
    assert is_parsed("en")
    assert is_parsed(None)
    assert not is_parsed("de")
    assert not is_parsed(UNKNOWN)
