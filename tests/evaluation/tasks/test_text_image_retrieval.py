"""Precision at k equals a literal count, and what cannot be scored is said."""

import re

import numpy as np
import pytest
import yaml

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import bootstrap
from evaluation.metrics.precision_at import choose_candidates
from evaluation.tasks import text_image_retrieval as retrieval
from store.code import ROOT

CLASSES = ["A", "B", "C"]


def case(rows=60, seed=0):
    """Similarities that lean towards the right category."""
    rng = np.random.default_rng(seed)
    categories = rng.integers(0, 3, rows)
    queries = np.repeat(np.arange(3), 2)
    similarities = rng.normal(size=(rows, 6)) + (categories[:, None] == queries)
    return similarities, categories, queries, rng.integers(0, 25, rows).astype(str)


def literal(depth, similarities, categories, queries, category):
    """The share of the category among the first `depth` of each of its sentences' rankings, averaged."""
    if (categories == category).sum() < depth:
        return np.nan
    shares = []
    for column in np.flatnonzero(queries == category):
        ranked = sorted(range(len(similarities)), key=lambda row: -similarities[row, column])
        shares.append(sum(categories[row] == category for row in ranked[:depth]) / depth)
    return float(np.mean(shares))


def found(values, metric, name):
    (value,) = [value for value in values if (value.metric, value.class_name) == (metric, name)]
    return value


@pytest.mark.parametrize("depth", [5, 10])
def test_precision_is_the_literal_count_with_the_interval_of_resampled_patients(depth):
    similarities, categories, queries, subjects = case()
    values = retrieval.score(similarities, categories, queries, CLASSES, subjects, resamples=40)
    for category, name in enumerate(CLASSES):
        ours = found(values, f"precision_at_{depth}", name)
        assert ours.value == pytest.approx(literal(depth, similarities, categories, queries, category))
        assert ours.n == (categories == category).sum()

        def again(rows, category=category):
            return literal(depth, similarities[rows], categories[rows], queries, category)

        assert (ours.low, ours.high) == pytest.approx(bootstrap(again, [np.arange(60)], subjects, 40))
    macro = found(values, f"precision_at_{depth}", "macro")
    assert macro.value == pytest.approx(np.mean([found(values, macro.metric, name).value for name in CLASSES]))
    assert macro.low < macro.value < macro.high


def test_a_perfect_ranking_and_chance():
    _, categories, queries, subjects = case()
    values = retrieval.score((categories[:, None] == queries) * 1.0, categories, queries, CLASSES, subjects)
    assert found(values, "precision_at_10", "macro").value == 1
    assert found(values, "precision_chance", "macro").value == pytest.approx(1 / 3)
    shares = np.bincount(categories) / len(categories)
    assert [found(values, "precision_chance", name).value for name in CLASSES] == pytest.approx(shares)


def test_too_few_candidates_for_a_depth_are_not_scored():
    similarities, categories, queries, subjects = case()
    values = retrieval.score(similarities, categories, queries, CLASSES, subjects)
    assert all(found(values, "precision_at_50", name).value is None for name in [*CLASSES, "macro"])
    rare = np.concatenate([np.flatnonzero(categories != 2), np.flatnonzero(categories == 2)[:4]])
    values = retrieval.score(similarities[rare], categories[rare], queries, CLASSES, subjects[rare])
    assert found(values, "precision_at_5", "C").value is None
    assert found(values, "precision_at_5", "macro").n == 2


def test_one_category_alone_or_none_is_not_scored():
    similarities, _, queries, subjects = case()
    values = retrieval.score(similarities, np.zeros(60, int), queries, CLASSES, subjects)
    assert all(value.value is None for value in values)
    nobody = choose_candidates(np.zeros((7, 3)))
    values = retrieval.score(np.empty((0, 6)), nobody.categories, queries, CLASSES, subjects[:0])
    assert all(value.value is None for value in values)


def test_diverged_networks_are_refused():
    similarities, categories, queries, subjects = case()
    similarities[3, 1] = np.nan
    with pytest.raises(EvaluationError, match="diverged"):
        retrieval.score(similarities, categories, queries, CLASSES, subjects)
    with pytest.raises(EvaluationError, match="do not fit"):
        retrieval.score(similarities[:5], categories, queries, CLASSES, subjects)


def test_five_sentences_in_each_of_the_eight_categories():
    queries = retrieval.read_queries()
    eight = {"normal", "cardiomegaly", "edema", "pneumonia", "atelectasis", "pneumothorax", "effusion", "fracture"}
    assert set(queries) == eight
    assert all(len(set(sentences)) == 5 for sentences in queries.values())
    classes = {"Edema": "edema", "No Finding": "normal", "Pleural Effusion": "effusion", "Nodule": "nodule"}
    assert set(retrieval.categories_of(classes)) == {"Edema", "No Finding", "Pleural Effusion"}


def test_no_sentence_is_one_of_the_phantoms():
    """A method trained on simulated reports has never read a query."""
    text = (ROOT / "cohorts/phantom/phrases.yaml").read_text()
    phrases = [phrase for phrase in _strings(yaml.safe_load(text)) if " " in phrase]
    assert len(phrases) > 100
    patterns = [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(phrase.lower().rstrip(".")))) for phrase in phrases]
    for sentences in retrieval.read_queries().values():
        for sentence in sentences:
            assert not any(pattern.fullmatch(sentence.lower().rstrip(".")) for pattern in patterns), sentence


def _strings(node):
    if isinstance(node, str):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [text for child in children for text in _strings(child)]
