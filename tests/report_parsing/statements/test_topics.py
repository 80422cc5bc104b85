"""Lines of a template: which words are the subject of an answer, and which marks only end a sentence."""

import pytest

from report_parsing.lexicon.words import Lexicon
from report_parsing.reports import parse_report
from report_parsing.statements.topics import mark_topics
from report_parsing.statements.triplets import TripletParser


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


@pytest.mark.parametrize(
    ("sentence", "topics"),
    [
        ("Pneumothorax: None", ["pneumothorax"]),
        ("effusion:none", ["effusion"]),
        ("Consolidation - No", ["consolidation"]),
        ("Consolidation -- No", ["consolidation -"]),
        ("Lines, tubes and devices: None", ["lines , tubes and devices"]),
        ("Heart: Enlarged", ["heart"]),
        ("Edema: mild, effusion: none", ["edema", "effusion"]),
        ("Edema: none Effusion: none", ["edema", "effusion"]),
        ("Lungs: clear; heart - normal", ["lungs", "heart"]),
        ("Nodule? No", ["nodule"]),
        ("Small left effusion - no pneumothorax", []),
        ("There is an effusion - no pneumothorax", []),
        ("Right-sided effusion", []),
        ("Effusion of 5 - 10 mm", []),
        ("Film of 10:30, no effusion", []),
        ("Left knee: no effusion", []),
        ("Is there an effusion? None of the films shows one", []),
        ("The heart is enlarged: cardiomegaly", []),
        ("", []),
    ],
)
def test_subjects(lexicon, sentence, topics):
    reading = lexicon.read(sentence)
    mark_topics(reading)
    assert [" ".join(reading.words[topic.start : topic.separator]) for topic in reading.topics] == topics


def test_what_the_answer_repeats_is_not_said_twice(lexicon):
    reading = lexicon.read("Effusion: no effusion")
    mark_topics(reading)
    assert [mention.start for mention in reading.observations] == [3]


def test_a_question_on_each_line_has_the_answer_of_its_line():
    report = "FINDINGS:\nPneumothorax? No\nEffusion? Yes, small right\nEdema? No\n"
    spans = [(sentence.start, sentence.end) for sentence in parse_report(report).sentences]
    triplets = [item for one in TripletParser().parse_report(report, spans) for item in one]
    assert [(item.entity, item.position, item.exists) for item in triplets] == [
        ("pneumothorax", "unspecified", "absent"),
        ("effusion", "right_pleural", "present"),
        ("edema", "unspecified", "absent"),
    ]
