"""Descriptions of the vocabulary, and look-up that would rather not know than be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.knowledge import KnowledgeBase
from report_parsing.tables import KNOWLEDGE
from report_parsing.vocabulary import ENTITIES, POSITIONS

BASE = KnowledgeBase.default()


def test_table_is_the_vocabulary_in_order():
    table = BASE.table()
    assert table.schema.equals(KNOWLEDGE, check_metadata=True)
    assert table.column("name").to_pylist() == [*ENTITIES, *POSITIONS]
    assert table.column("kind").to_pylist() == ["entity"] * 75 + ["position"] * 51


def test_descriptions_have_words_and_sources():
    rows = BASE.table().to_pylist()
    assert all(row["source"] for row in rows)
    assert len({row["description"] for row in rows}) == len(rows)
    for row in rows[:75]:
        assert 12 <= len(row["description"].split()) <= 30, row["name"]
    assert rows[75]["description"] == "It is located at trachea"
    assert BASE.describe("left_lower_lung") == "It is located at left lower lung"


def test_unseen_diseases_stay_out_of_the_table():
    assert {"covid_19", "tuberculosis", "fibrosis"} <= set(BASE.names("unseen"))
    assert not set(BASE.names("unseen")) & set(BASE.table().column("name").to_pylist())
    assert 12 <= len(BASE.describe("covid_19").split()) <= 30


@pytest.mark.parametrize("name", ENTITIES)
def test_every_observation_finds_itself(name):
    assert BASE.lookup(name) == (name, 1.0, True)


@pytest.mark.parametrize(
    ("term", "name", "exact"),
    [
        ("Enlarged heart", "cardiomegaly", True),
        ("pleural effusions", "effusion", True),
        ("PICC line", "picc", True),
        ("pneumothoraces", "pneumothorax", True),
        ("COVID-19", "covid_19", True),
        ("tuberculosis", "tuberculosis", True),
        ("tortuous thoracic aorta", "tortuous", True),
        ("tortuous ascending aorta", "tortuous", False),
        ("pneumothoracs", "pneumothorax", False),
        ("left pleural effusion", "effusion", False),
        ("femur fracture", "fracture", False),
    ],
)
def test_lookup(term, name, exact):
    match = BASE.lookup(term)
    assert (match.name, match.exact) == (name, exact)
    assert BASE.threshold <= match.score <= 1.0


@pytest.mark.parametrize("term", ["banana", "appendicitis", "diabetes", "hip replacement", "renal failure", "", " . "])
def test_what_it_does_not_know(term):
    assert BASE.lookup(term) is None


def test_the_threshold_is_what_decides():
    lenient = KnowledgeBase([*BASE._by_name.values()], threshold=0.2)
    assert BASE.lookup("renal failure") is None
    assert lenient.lookup("renal failure") is not None


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_term_has_an_answer_or_none(term):
    match = BASE.lookup(term)
    assert match is None or match.score >= BASE.threshold


def test_behind_scispacys_classes():
    base = BASE.as_scispacy()
    assert base.alias_to_cuis["cardiomegaly"] == {"cardiomegaly"}
    assert base.cui_to_entity["effusion"].definition == BASE.describe("effusion")
    assert len(base.cui_to_entity) == 75 + 51 + len(BASE.names("unseen"))
