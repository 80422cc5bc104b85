"""Findings that are not said again, also across sentences; sentence_kinds.csv has their kinds within a sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.lexicon.words import Lexicon
from report_parsing.sections.sentences import split_sentences
from report_parsing.statements.ellipsis import unsaid
from report_parsing.statements.triplets import TripletParser

PARSER, LEXICON = TripletParser(), Lexicon()
WORDS = (
    *("no", "not", "none", "but", "and", ",", "one", "left", "right", "small", "effusion", "opacity", "than", "larger"),
    *("on", "the", "except", "persists", "resolved", "base", "heart", "clear", "while", "it", ";", "with", "xxxx"),
)


def said(report):
    spans = split_sentences(report, 0, len(report))
    return {
        f"{item.entity}@{item.position}={item.exists}" for found in PARSER.parse_report(report, spans) for item in found
    }


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("No right effusion. Small left one.", "effusion@right_pleural=absent effusion@left_pleural=present"),
        (
            "No right pneumothorax. A tiny left one cannot be excluded.",
            "pneumothorax@right_pleural=absent pneumothorax@left_pleural=uncertain",
        ),
        (
            "Left effusion is large. The right one is small.",
            "effusion@left_pleural=present effusion@right_pleural=present",
        ),
        (
            "No new nodule. The old ones in the left lung persist.",
            "nodule@unspecified=absent nodule@left_lung_unspec=present",
        ),
        (
            "No effusion on the left. Moderate on the right.",
            "effusion@left_pleural=absent effusion@right_pleural=present",
        ),
        ("No effusion. One view.", "effusion@unspecified=absent"),
        ("Nodule, one of several.", "nodule@unspecified=present"),
        ("No effusion. Small heart on the left.", "effusion@unspecified=absent"),
        (
            "The lungs are clear. Small left one.",
            "clear@lung_volumes=present opacity@lung_volumes=absent consolidation@lung_volumes=absent",
        ),
        (
            "Edema has resolved, but the effusion persists on the left.",
            "edema@unspecified=absent effusion@left_pleural=present",
        ),
        ("No abnormality other than cardiomegaly.", "abnormality@unspecified=absent cardiomegaly@heart_size=present"),
        (
            "Right upper but not right lower lobe opacity.",
            "opacity@upper_right_lobe=present opacity@lower_right_lobe=absent",
        ),
        (
            "There is right but not left basilar opacity.",
            "opacity@right_lower_lung=present opacity@left_lower_lung=absent",
        ),
    ],
)
def test_reports(report, expected):
    assert said(report) == set(expected.split())


def test_spans_are_words_of_the_report():
    report = "No right effusion. Small left one."
    (first,), (second,) = PARSER.parse_report(report, [(0, 18), (19, 34)])
    assert report[first.start : first.end] == "right effusion"
    assert report[second.start : second.end] == "left one"
    (_, second) = PARSER.parse_sentence("No effusion on the right, small on the left.")
    assert (second.start, second.end) == (26, 43)


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("no effusion on the left, small on the right", [",", "small effusion"]),
        ("left but not right effusion", ["left effusion"]),
        ("right effusion larger than left", ["left effusion"]),
        ("no opacity except in the lingula", ["opacity in"]),
        ("no effusion or edema", []),
        ("small effusion on the left, moderate on the right", []),  # both sides are read as they are
        ("no effusion, heart is on the left", []),
    ],
)
def test_what_is_written_out(line, written):
    uses = unsaid(line, LEXICON.read(line))
    assert [use.long.replace(";", ",") for use in uses] == written


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=16))
def test_any_words_parse(words):
    report = " ".join(words)
    for start, end, triplet in ((item.start, item.end, item) for item in PARSER.parse_sentence(report)):
        assert 0 <= start < end <= len(report), triplet
