"""Observations: our lemmatiser, the mergers and the groups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.radgraph.observations import lemma_of, lemmatise, mended_group, merge, reference_group
from report_parsing.resources import read_cell, read_rows
from report_parsing.vocabulary import ENTITIES


@pytest.mark.parametrize("entity", ENTITIES[:73])
def test_every_observation_is_its_own_group(entity):
    assert reference_group(merge(lemma_of(entity))) == mended_group(lemma_of(entity)) == entity


def test_the_table_says_each_word_once_and_its_mergers_do_not_chain():
    rows = read_rows("radgraph_words.csv")
    words = [(row["step"], word) for row in rows for word in read_cell(row["words"])]
    assert len(words) == len(set(words))
    assert {row["step"] for row in rows} == {"lemma", "merge", "group", "mended", "anatomy"}
    merged = [row for row in rows if row["step"] == "merge"]
    assert not {row["to"] for row in merged} & {word for row in merged for word in read_cell(row["words"])}
    assert {row["to"] for row in rows if row["step"] in ("group", "mended")} <= set(ENTITIES)


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("opacities", "opacity"),
        ("effusion;", "effusion"),
        ("effusion(s)", "effusion"),
        ("opacity-", "opacity"),
        ("masses", "mass"),
        ("thickening", "thicken"),
        ("scoliosis", "scoliosis"),
        (".", "."),
    ],
)
def test_lemmas(word, lemma):
    assert lemma_of(word) == lemma


@pytest.mark.parametrize(
    ("tokens", "reference", "mended"),
    [
        ("Opacification", "opacity", "opacity"),
        ("pneumothoraces", "pneumothorax", "pneumothorax"),
        ("infectious process", "pneumonia", "pneumonia"),
        ("increased", "enlarge", "excluded_obs"),
        ("enlargement", "enlarge", "enlarge"),
        ("unchanged", "excluded_obs", "excluded_obs"),
        ("kyphosis", "tail_abnorm_obs", "tail_abnorm_obs"),
        ("nodular opacities", "tail_abnorm_obs", "opacity"),
        ("effusion small", "tail_abnorm_obs", "effusion"),
        ("interval change", "tail_abnorm_obs", "excluded_obs"),
        ("not well seen", "tail_abnorm_obs", "excluded_obs"),
        ("within normal limits", "tail_abnorm_obs", "normal"),
        (None, "excluded_obs", "excluded_obs"),
    ],
)
def test_groups(tokens, reference, mended):
    lemma = lemmatise(tokens)
    assert reference_group(merge(lemma)) == reference
    assert mended_group(lemma) == mended


@given(st.text(max_size=30))
def test_any_tokens_have_a_group(tokens):
    lemma = lemmatise(tokens)
    assert {mended_group(lemma), reference_group(merge(lemma))} <= set(ENTITIES)
