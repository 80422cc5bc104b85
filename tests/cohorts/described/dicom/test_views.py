import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.described.dicom.body_parts import CHEST, ELSEWHERE, NOT_SAID, judge_body_part
from cohorts.described.dicom.views import WORDS, choose_side, choose_view, view_in_words


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("Chest PA", "PA"),
        ("Thorax p.a. stehend", "PA"),
        ("W Thorax seitlich", "LATERAL"),
        ("Rx tórax perfil", "LATERAL"),
        ("Thorax a.p. liegend", "AP"),
        ("Chest portable", "FRONTAL"),
        ("LEFT LATERAL", "LL"),
        ("Chest LL", "LL"),
        ("Chest lateral decubitus", "DECUBITUS"),
        ("Thorax schräg", "OBLIQUE"),
        ("Chest AP/PA", "FRONTAL"),
        ("Chest PA and lateral", ""),
        ("Bilateral ribs", ""),
        ("Opaque catheter", ""),
        ("Chest", ""),
    ],
)
def test_descriptions_name_views(text, view):
    assert view_in_words(text) == view


def test_the_first_attribute_that_says_a_view_counts():
    assert choose_view("pa ", ["R-10236"], ["Thorax seitlich"], ["A", "F"]) == "PA"
    assert choose_view("OTHER", ["R-10236"], ["Thorax pa"], ["L", "F"]) == "LL"
    assert choose_view("", ["99X", "left lateral"], ["Thorax pa"], ["L", "F"]) == "LL"
    assert choose_view("", [], ["Chest", "W033 Thorax pa"], ["A", "F"]) == "PA"
    assert choose_view("", [], ["Chest"], ["P", "FR"]) == "LATERAL"
    assert choose_view("", [], [], ["L", "F"]) == "FRONTAL"
    assert choose_view("", [], [], ["L"]) == choose_view("", [], [], ["L", "P"]) == ""


def test_the_codes_are_those_of_the_standard():
    from pydicom.sr.codedict import codes

    for name, view in {
        "PosteroAnterior": "PA",
        "AnteroPosterior": "AP",
        "LeftLateral": "LL",
        "RightLateral": "RL",
    }.items():
        assert choose_view("", [getattr(codes.cid4010, name).value], [], []) == view


def test_only_a_lateral_view_has_a_side():
    assert choose_side("LATERAL", "", "R") == "R"
    assert choose_side("LL", "R") == "L"
    assert choose_side("LATERAL", "U") == choose_side("PA", "L") == ""


@given(st.text(max_size=40))
def test_any_text_names_one_of_the_views_or_none(text):
    assert view_in_words(text) in {"", *(view for view, _ in WORDS)}


@pytest.mark.parametrize(
    ("coded", "texts", "part"),
    [
        ("CHEST", ["Knee"], CHEST),
        ("THORAX", [], CHEST),
        ("KNEE", ["Chest PA"], ELSEWHERE),
        ("", ["Röntgen Knie links"], ELSEWHERE),
        ("", ["Radiografía de tórax"], CHEST),
        ("UNKNOWN", ["Thorax und Abdomen"], CHEST),
        ("", ["LWS seitlich"], ELSEWHERE),
        ("", ["Aufnahme 2 Ebenen", ""], NOT_SAID),
    ],
)
def test_body_parts(coded, texts, part):
    assert judge_body_part([coded], texts) == part
