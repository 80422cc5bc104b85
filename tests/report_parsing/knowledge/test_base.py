"""Descriptions of the vocabulary, and look-up that would rather not know than be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_parsing.knowledge.base import KnowledgeBase, UnknownTermError
from report_parsing.knowledge.descriptions import Description
from report_parsing.tables import KNOWLEDGE
from report_parsing.vocabulary import ENTITIES, POSITIONS

BASE = KnowledgeBase.default()
ZEBRA = "kind,name,aliases,description,source\nunseen,zebra_lung,striped lung,White stripes across both lungs.,own\n"


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(ZEBRA, encoding="utf-8")
    return path


def test_table_is_the_vocabulary_in_order():
    table = BASE.table()
    assert table.schema.equals(KNOWLEDGE, check_metadata=True)
    assert table.column("name").to_pylist() == [*ENTITIES, *POSITIONS]
    assert table.column("kind").to_pylist() == ["entity"] * 75 + ["position"] * 51


def test_positions_are_described_by_the_template():
    assert BASE.table().to_pylist()[75]["description"] == "It is located at trachea"
    assert BASE.describe("left_lower_lung") == "It is located at left lower lung"


def test_unseen_diseases_stay_out_of_the_table_and_have_their_own():
    assert {"covid_19", "tuberculosis", "fibrosis"} <= set(BASE.names("unseen"))
    assert not set(BASE.names("unseen")) & set(BASE.table().column("name").to_pylist())
    unseen = BASE.unseen_table()
    assert unseen.column("name").to_pylist() == BASE.names("unseen")
    assert unseen.schema.metadata[b"descriptions"].decode() == BASE.version
    assert unseen.column_names == [*KNOWLEDGE.names, "aliases"]
    assert "sars-cov-2" in unseen.to_pylist()[0]["aliases"]


@pytest.mark.parametrize("name", ENTITIES)
def test_every_observation_finds_itself(name):
    assert BASE.lookup(name) == (name, 1.0, True)


@pytest.mark.parametrize(
    ("term", "name", "exact"),
    [
        *(("Enlarged heart", "cardiomegaly", True), ("pleural effusions", "effusion", True)),
        *(("PICC line", "picc", True), ("pneumothoraces", "pneumothorax", True), ("COVID-19", "covid_19", True)),
        *(("tuberculosis", "tuberculosis", True), ("tortuous thoracic aorta", "tortuous", True)),
        *(("tortuous ascending aorta", "tortuous", False), ("pneumothoracs", "pneumothorax", False)),
        *(("left pleural effusion", "effusion", False), ("oedema of the lungs", "edema", False)),
    ],
)
def test_lookup(term, name, exact):
    match = BASE.lookup(term)
    assert (match.name, match.exact) == (name, exact)
    assert BASE.threshold <= match.score <= 1.0


@pytest.mark.parametrize(
    "term",
    [
        "banana",
        "appendicitis",
        "diabetes",
        "hip replacement",
        "renal failure",
        "knee effusion",
        "bone density",
        "",
        " . ",
    ],
)
def test_what_it_does_not_know(term):
    assert BASE.lookup(term) is None


def test_the_threshold_is_what_decides():
    lenient = KnowledgeBase(BASE.descriptions, threshold=0.5)
    assert BASE.lookup("knee effusion") is None
    assert lenient.lookup("knee effusion").name == "effusion"


@given(st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_term_has_an_answer_or_none(term):
    match = BASE.lookup(term)
    assert match is None or match.score >= BASE.threshold


def test_a_network_is_asked_by_name_or_by_description():
    assert BASE.query("heart enlargement") == "cardiomegaly"
    assert BASE.query("corona virus") == BASE.describe("covid_19")
    with pytest.raises(UnknownTermError, match="`renal failure` is not known"):
        BASE.query("renal failure")


def test_it_says_what_it_means_or_what_is_near():
    assert BASE.explain("Enlarged heart") == "`Enlarged heart` means `cardiomegaly` (exact)."
    assert BASE.explain("pnuemothorax") == "`pnuemothorax` means `pneumothorax` (score 0.96)."
    sentence = BASE.explain("knee effusions of old")
    assert sentence.startswith("`knee effusions of old` is not known; nearest: effusion (0.")
    assert "kind,name,aliases,description,source" in sentence
    assert "nearest: nothing" in BASE.explain("xyzzy")


def test_a_users_descriptions_join_ours(own):
    base = KnowledgeBase.default(extra=own)
    assert base.lookup("Striped lungs") == ("zebra_lung", 1.0, True)
    assert base.lookup("stirped lungs").name == "zebra_lung"
    assert base.query("striped lung") == "White stripes across both lungs."
    assert base.lookup("enlarged heart") == BASE.lookup("enlarged heart")
    assert "zebra_lung" in base.unseen_table().column("name").to_pylist()
    assert base.table().equals(BASE.table(), check_metadata=True)  # training's book is the same, so no run is repeated


def test_the_version_says_what_the_descriptions_are(own):
    declared, digest = BASE.version.split("-")
    assert KnowledgeBase.default().version == BASE.version
    other = BASE.with_descriptions(own).version
    assert other.startswith(f"{declared}-")
    assert other != f"{declared}-{digest}"


def test_names_come_before_aliases_and_aliases_before_forms():
    wolf = Description("unseen", "wolf", "Grey.", "own", ("dog",))
    base = KnowledgeBase([wolf, Description("unseen", "dog", "Brown.", "own", ())], [("wolf", "dog"), ("hound", "dog")])
    assert [base.lookup(term).name for term in ("dog", "wolf", "hound")] == ["dog", "wolf", "dog"]


@pytest.mark.parametrize(
    "text", ["effusion", "pnuemothorax", "findings consistent with pleural effusion", "no finding"]
)
def test_what_names_a_finding_is_not_doubted(text):
    assert BASE.doubt(text) == ""


def test_what_names_no_finding_or_denies_one_is_doubted():
    assert BASE.doubt("a photo of a cat") == "`a photo of a cat` names no finding that is known here."
    assert "nearest: effusion" in BASE.doubt("knee effusions of old")
    assert "nearest: chf" in BASE.doubt("renal failure")
    for text in ("no pleural effusion", "findings without pneumothorax"):
        assert BASE.lookup(text) is None
        assert BASE.doubt(text).startswith(f"`{text}` says that something is absent")
    with pytest.raises(UnknownTermError, match="ask for the finding itself"):
        BASE.query("no pleural effusion")
