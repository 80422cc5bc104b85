"""Spanish sentences give the triplets of their translations, with spans of the Spanish text."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.chexpert import label_report
from report_parsing.language.gloss import PARSED, gloss
from report_parsing.reports import parse_report
from report_parsing.statements.triplets import TripletParser
from report_parsing.vocabulary import NO_FINDING, POSITIVE, UNCERTAIN

LINES = Path(__file__).with_name("spanish.csv").read_text(encoding="utf-8").splitlines()
SENTENCES = list(csv.DictReader(line for line in LINES if not line.startswith("#")))
PARSER = TripletParser()


def said(sentence):
    (found,) = PARSER.parse_report(sentence, [(0, len(sentence))])
    return {triplet[:3] for triplet in found}


def test_sentences_say_what_their_translations_say():
    found = [(said(row["spanish"]), said(row["english"])) for row in SENTENCES]
    both = sum(len(spanish & english) for spanish, english in found)
    all_of_both = sum(len(spanish) + len(english) for spanish, english in found)
    assert len(found) >= 400
    assert 2 * both / all_of_both >= 0.95


def test_no_denied_finding_is_affirmed():
    for row in SENTENCES:
        denied = {entity for entity, _, exists in said(row["english"]) if exists == "absent"}
        affirmed = {entity for entity, _, exists in said(row["english"]) if exists != "absent"}
        wrong = {entity for entity, _, exists in said(row["spanish"]) if exists == "present"} & (denied - affirmed)
        assert not wrong, row["spanish"]


@pytest.mark.parametrize("file", ["denied_in_spanish.txt", "denied_in_others.txt"])
def test_what_is_denied_in_many_ways(file):
    sentences = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    for sentence in sentences:
        (found,) = PARSER.parse_report(sentence, [(0, len(sentence))])
        labels = {label for label, value in label_report(found).items() if value in (POSITIVE, UNCERTAIN)}
        assert labels - {NO_FINDING, "Support Devices"} == set(), sentence


@pytest.mark.parametrize(
    "sentence",
    [
        "Fractura costal no desplazada.",
        "Neumotórax no a tensión.",
        "Derrame sin cambios respecto al previo.",
        "No hay mejoría del infiltrado.",
        "El derrame no ha disminuido.",
        "No ha cambiado el derrame pleural derecho.",
        "Infiltrado no resuelto.",
        "Atelectasia basal y no neumonía.",
    ],
)
def test_no_is_not_always_a_denial(sentence):
    assert any(exists == "present" for *_, exists in said(sentence))


@pytest.mark.parametrize(
    ("spanish", "english"),
    [
        ("Pequeño derrame pleural izquierdo.", "small left pleural effusion."),
        ("Consolidación en lóbulo inferior derecho", "consolidation in right lower lobe"),
        ("NEUMOTORAX IZQUIERDO", "left pneumothorax"),
        ("Aorta elongada y calcificada", "tortuous and calcified aorta"),
        ("Ángulos costofrénicos y cardiofrénicos libres", "clear costophrenic and cardiophrenic angles"),
        ("Derrame; corazón normal", "effusion; normal heart"),
        ("Ni derrame ni edema", "no effusion or edema"),
        ("Derrame Xyz", "effusion xyz"),
        ("", ""),
    ],
)
def test_glosses(spanish, english):
    assert gloss(spanish, "es").text == english


def test_a_report():
    report = (
        "HALLAZGOS:\nPequeño derrame pleural iz\u00adquierdo. No se observa\nneumotórax.\nIMPRESIÓN: Cardiomegalia."
    )
    parsed = parse_report(report)
    found = PARSER.parse_report(report, [(start, end) for _, start, end, _ in parsed.sentences])
    assert [(t.entity, t.exists, report[t.start : t.end]) for triplets in found for t in triplets] == [
        ("effusion", "present", "derrame pleural iz\u00adquierdo"),
        ("pneumothorax", "absent", "neumotórax"),
        ("cardiomegaly", "present", "Cardiomegalia"),
    ]
    labels = label_report(triplet for triplets in found for triplet in triplets)
    assert (labels["Pleural Effusion"], labels["Pneumothorax"], labels["Cardiomegaly"]) == (1.0, 0.0, 1.0)
    assert parsed.language == "es"
    assert {"en", "es"} == PARSED


@settings(deadline=None)
@given(st.text(alphabet="derrame pleural izquierdo no y ni,.;:ñéﬁ\u00ad\n1*<b>"))
def test_spans_are_of_the_original(sentence):
    read = gloss(sentence, "es")
    assert len(read.text) == len(read.origins)
    assert all(0 <= start < end <= len(sentence) for start, end in read.origins)
