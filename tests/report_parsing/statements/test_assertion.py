"""Negation and doubt: which cues are heard, how far they reach, and what ends them."""

import pytest

from report_parsing.lexicon.words import Lexicon
from report_parsing.statements.assertion import assertion_of
from report_parsing.statements.clauses import split_clauses


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon()


def assertions(lexicon, sentence):
    reading = lexicon.read(sentence)
    reading.clauses = split_clauses(reading)
    return [assertion_of(reading, mention) for mention in reading.observations]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No effusion", "absent"),
        ("Without effusion", "absent"),
        ("No evidence of effusion", "absent"),
        ("Free of effusion", "absent"),
        ("Negative for effusion", "absent"),
        ("Effusion is not seen", "absent"),
        ("Effusion has resolved", "absent"),
        ("Effusion is no longer visualized", "absent"),
        ("Effusion is absent", "absent"),
        ("No change in effusion", "present"),
        ("No interval change in effusion", "present"),
        ("Effusion has not resolved", "present"),
        ("Effusion has nearly resolved", "present"),
        ("Not only effusion", "present"),
        ("Effusion is likely", "present"),
        ("Likely effusion", "present"),
        ("Cannot exclude effusion", "uncertain"),
        ("Effusion cannot be excluded", "uncertain"),
        ("Possible effusion", "uncertain"),
        ("Questionable effusion", "uncertain"),
        ("May represent effusion", "uncertain"),
        ("Suspicious for effusion", "uncertain"),
        ("Effusion is possible", "uncertain"),
        ("Effusion is unlikely", "uncertain"),
    ],
)
def test_one_cue(lexicon, sentence, expected):
    assert assertions(lexicon, sentence) == [expected]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("No effusion, nodule, mass, or edema", ["absent"] * 4),
        ("No effusion nor edema", ["absent"] * 2),
        ("No effusion but edema", ["absent", "present"]),
        ("No effusion, however edema persists", ["absent", "present"]),
        ("No effusion although edema persists", ["absent", "present"]),
        ("No abnormality except edema", ["absent", "present"]),
        ("No effusion; edema", ["absent", "present"]),
        ("No effusion with mild edema", ["absent", "present"]),
        ("No effusion or mass, mild edema", ["absent", "absent", "present"]),
        ("No effusion, mild edema", ["absent", "present"]),
        ("No effusion, mild edema, or mass", ["absent"] * 3),
        ("No opacity consistent with pneumonia", ["absent"] * 2),
        ("Effusion versus mass", ["uncertain"] * 2),
        ("Possible effusion without edema", ["uncertain", "absent"]),
        ("No effusion, possible edema", ["absent", "uncertain"]),
        ("No effusion, pneumonia cannot be excluded", ["absent", "uncertain"]),
        ("Denies effusion and edema", ["absent"] * 2),
        ("There is possible effusion and edema", ["uncertain"] * 2),
        ("More likely edema than effusion", ["present", "uncertain"]),
        ("Larger effusion than edema", ["present"] * 2),
        ("Edema has resolved and effusion persists", ["absent", "present"]),
        ("Effusion and edema have resolved", ["absent"] * 2),
    ],
)
def test_scope(lexicon, sentence, expected):
    assert assertions(lexicon, sentence) == expected


def test_a_negated_list_leaves_normal_states_alone(lexicon):
    assert assertions(lexicon, "No effusion, lungs clear") == ["absent", "present"]
    assert assertions(lexicon, "Lungs are not clear") == ["absent"]
