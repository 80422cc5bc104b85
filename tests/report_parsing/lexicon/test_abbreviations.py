"""Abbreviations that reports define: the forms they take, what looks like one and is none, and hostile brackets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.lexicon.abbreviations import AbbreviationFinder

FINDER = AbbreviationFinder()


@pytest.mark.parametrize(
    ("report", "short", "long"),
    [
        ("Chronic obstructive pulmonary disease (COPD).", "COPD", "Chronic obstructive pulmonary disease"),
        ("A nasogastric tube (NGT) is seen.", "NGT", "nasogastric tube"),
        ("Diffuse ground-glass opacity (GGO).", "GGO", "ground-glass opacity"),
        ("Small pneumothorax (PTX) on the right.", "PTX", "pneumothorax"),
        (
            "changes of diffuse idiopathic skeletal hyperostosis (DISH)",
            "DISH",
            "diffuse idiopathic skeletal hyperostosis",
        ),
        ("peripherally inserted central\ncatheter (PICC)", "PICC", "peripherally inserted central catheter"),
        ("GGO (ground glass opacity) in the base", "GGO", "ground glass opacity"),
        ("central venous pressure, (CVP) line", "CVP", "central venous pressure"),
        ("CHRONIC OBSTRUCTIVE PULMONARY DISEASE (COPD)", "COPD", "CHRONIC OBSTRUCTIVE PULMONARY DISEASE"),
        ("a ((right lower lobe (RLL))) opacity", "RLL", "right lower lobe"),
    ],
)
def test_what_is_defined(report, short, long):
    (found,) = FINDER.find(report)
    assert (found.short, found.long) == (short, long)
    assert " ".join(report[slice(*found.long_span)].split()) == long
    assert [report[slice(*span)] for span in found.uses] == [short]


@pytest.mark.parametrize(
    "report",
    [
        "No change (stable) since the prior.",
        "Frontal (AP) and lateral views.",
        "CHEST (PA AND LATERAL)",
        "STABLE SMALL TUBES ARE BELOW THE ELBOW (STABLE)",  # the letters are there, the initials are not
        "opacity(ies) and effusion(s)",
        "seen on prior chest x-XXXX (XXXX)",
        "right lower lobe (RLL",
        "right lower lobe) RLL (",
        "(RLL)",
        "RLL (RLL)",
        "Right lung is low. Lobe is clear (RLL).",  # a long form lies within a sentence
        "",
    ],
)
def test_what_defines_nothing(report):
    assert FINDER.find(report) == []


def test_every_use_of_a_short_form_is_found():
    report = "An endotracheal tube (ETT) ends high. The ETT, not the NGT, was moved; ETTs differ. ETT again (ETT)."
    (found,) = FINDER.find(report)
    assert [start for start, _ in found.uses] == [22, 42, 84, 95]


def test_the_first_definition_counts():
    report = "pulmonary embolism (PE). Later a pleural effusion (PE)."
    assert FINDER.expansions(report) == {"PE": "pulmonary embolism"}


@given(st.text(alphabet="aB Cd().,\n-XR", max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_text_has_spans_that_index_it(report):
    for found in FINDER.find(report):
        assert " ".join(report[slice(*found.long_span)].split()) == found.long
        assert all(report[slice(*span)] == found.short for span in found.uses)
        assert found.uses


@pytest.mark.parametrize(
    "piece", ["(", "(a", ")(", "(AB ", "x (AB) ", "chronic obstructive pulmonary disease (COPD) ", "AB (a b c) "]
)
def test_a_hostile_text_comes_to_an_end(piece):
    """In quadratic time this would take minutes; `benchmarks.text_growth` measures the growth."""
    assert len(FINDER.find(piece * 16_000)) <= 1
