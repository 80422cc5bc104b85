"""What decides between aliases: their words in any order, what a term leaves out and what it adds."""

import pytest

from report_parsing.knowledge.term_index import TermIndex, key_of, words_of
from report_parsing.resources import read_cell, read_rows

INDEX = TermIndex(
    [
        *(("effusion", "effusion"), ("pleural effusion", "effusion"), ("cardiomegaly", "cardiomegaly")),
        *(
            ("enlarged heart", "cardiomegaly"),
            ("heart failure", "chf"),
            ("enlarged", "enlarge"),
            ("tb", "tuberculosis"),
        ),
        *(("tuberculous infection", "tuberculosis"), ("infection", "pneumonia"), ("replaced valve", "device")),
        *(("bone density", ""), ("density", "density"), ("enlarged heart", "enlarge")),
    ]
)


def best(term):
    found = INDEX.nearest(term)
    return found[0] if found else None


@pytest.mark.parametrize(
    "term",
    [
        "Pleural effusion",
        "PLEURAL  EFFUSIONS",
        "pleural-effusion",
        "pleural_effusion",
        "pleuraleffusion",
        "pleural's effusion.",
    ],
)
def test_the_same_but_for_its_writing(term):
    assert INDEX.exact(term) == ("effusion", "pleural effusion", 1.0)


def test_the_first_name_keeps_an_alias():
    assert INDEX.exact("enlarged heart").name == "cardiomegaly"
    assert INDEX.aliases_of("enlarge") == ["enlarged"]


def test_the_order_and_the_form_of_words_do_not_matter():
    assert best("cardiac enlargement") == ("cardiomegaly", "enlarged heart", 0.99)
    assert best("enlargement of the heart").name == "cardiomegaly"
    assert best("effusion, pleural").name == "effusion"


def test_what_is_left_out_of_an_alias_costs_more_than_what_is_added():
    assert best("valve") is None
    assert best("replaced valve knob").alias == "replaced valve"


def test_where_and_how_much_cost_little_and_other_words_much():
    light, heavy = best("small left basal effusion"), best("knee effusion")
    assert light.name == heavy.name == "effusion"
    assert heavy.score < 0.75 < light.score


def test_the_word_that_says_what_it_is_counts_more():
    assert best("effusion cocktail").score < best("cocktail effusion").score


def test_words_of_other_aliases_of_a_name_hurt_little():
    assert best("tb infection").name == "tuberculosis"
    assert best("tb infection").score > best("tb failure").score


def test_what_looks_like_a_finding_and_is_none_has_no_name():
    assert best("bone density").name == ""
    assert best("the bone's low densities").name == ""
    assert best("density").name == "density"


def test_blanks_in_other_places():
    assert best("cardio megally").name == "cardiomegaly"
    assert best("hearfailure").name == "chf"


@pytest.mark.parametrize("term", ["", " ", ".,-", "xyzzy", "of the", "left"])
def test_nothing_is_near(term):
    assert INDEX.nearest(term) == []
    assert INDEX.exact(term) is None


def test_an_index_of_nothing_knows_nothing():
    assert TermIndex([]).nearest("effusion") == []
    assert TermIndex([("...", "dots")]).exact("...") is None


def test_words_are_written_one_way():
    assert words_of("Koch’s Œdema—of  LUNGS") == ["koch", "edema", "of", "lung"]
    assert key_of("Épanchement pleural") == "epanchementpleural"


def test_a_word_has_one_family_and_one_kind_of_qualifier():
    for file, column in (("word_families.csv", "words"), ("qualifiers.csv", "words")):
        words = [word for row in read_rows(file) for word in read_cell(row[column])]
        assert len(words) == len(set(words)), {word for word in words if words.count(word) > 1}
