"""The base behind scispacy's classes, with its real entity linker where it is installed: under Python below 3.13."""

import sys
from importlib.util import find_spec

import pytest

from report_parsing.knowledge.base import KnowledgeBase
from report_parsing.knowledge.linking import CandidateGenerator, LinkerError, as_scispacy

BASE = KnowledgeBase.default()
needs_scispacy = pytest.mark.skipif(find_spec("scispacy") is None, reason="scispacy is not installed")


@pytest.fixture(scope="module")
def generator():
    return CandidateGenerator(BASE)


@needs_scispacy
def test_behind_scispacys_knowledge_base():
    base = as_scispacy(BASE)
    assert base.alias_to_cuis["enlarged heart"] == {"cardiomegaly"}
    assert base.cui_to_entity["effusion"].definition == BASE.describe("effusion")
    assert base.cui_to_entity["covid_19"].types == ["unseen"]
    assert len(base.cui_to_entity) == len(BASE.descriptions)


@needs_scispacy
def test_candidates_of_mentions(generator):
    exact, misspelt, unknown = generator(["enlarged heart", "pnuemothorax", "banana bread"], 3)
    assert exact[0] == ("cardiomegaly", ["enlarged heart"], [1.0])
    assert misspelt[0].concept_id == "pneumothorax"
    assert unknown == []
    assert len(generator(["lung infection of the heart"], 1)[0]) <= 1
    assert generator([], 5) == []


@needs_scispacy
def test_candidates_are_concepts_and_aliases_of_the_base(generator):
    for candidate in generator(["pleural effusion"], 30)[0]:
        assert candidate.concept_id in generator.kb.cui_to_entity
        assert all(candidate.concept_id in generator.kb.alias_to_cuis[alias] for alias in candidate.aliases)


@needs_scispacy
def test_scispacys_entity_linker_works_on_it(generator):
    import spacy
    from scispacy.linking import EntityLinker

    language = spacy.blank("en")
    doc = language("Tortuous thoracic aorta and a pnuemothorax with banana bread")
    doc.ents = [doc.char_span(*span, label="FINDING") for span in ((0, 23), (30, 42), (48, 60))]
    linked = [entity._.kb_ents for entity in EntityLinker(candidate_generator=generator)(doc).ents]
    assert linked[0][0] == ("tortuous", 1.0)
    assert linked[1][0][0] == "pneumothorax"
    assert linked[2] == []


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="scispacy is made for Python below 3.13")
def test_it_is_there_where_it_can_be():
    assert find_spec("scispacy") is not None


def test_its_absence_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "scispacy.linking_utils", None)
    with pytest.raises(LinkerError, match=r"^scispacy is not installed: .*3\.12.*\.$"):
        CandidateGenerator(BASE)
