"""Queries are of other patients than images that are ranked, and the cosine of their features decides."""

from collections import Counter

import numpy as np
import pytest

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import bootstrap
from evaluation.tasks.image_image_retrieval import ImageImageRetrievalSettings, choose_images, score

CLASSES = ["a", "b", "c"]


def by_key(values):
    return {(value.metric, value.class_name): value for value in values}


def case(seed=0, images=60, queries=9):
    """Features that lean towards their category, of differing lengths."""
    rng = np.random.default_rng(seed)
    categories, query_categories = rng.integers(0, 3, images), np.arange(queries) % 3
    features, query_features = (
        (rng.normal(size=(len(kinds), 4)) + 2 * np.eye(4)[kinds]) * rng.uniform(0.1, 9, (len(kinds), 1))
        for kinds in (categories, query_categories)
    )
    subjects, query_subjects = rng.integers(0, 25, images).astype(str), [f"q{place // 2}" for place in range(queries)]
    return features, categories, subjects, query_features, query_categories, np.array(query_subjects)


def literal(depth, features, categories, query_features, query_categories, category):
    """The share of the category among the first `depth` of each of its queries' rankings, averaged."""
    shares = []
    for query in query_features[query_categories == category]:
        cosines = [image @ query / np.linalg.norm(image) / np.linalg.norm(query) for image in features]
        ranked = np.argsort(-np.array(cosines), kind="stable")
        shares.append(np.mean(categories[ranked[:depth]] == category))
    return float(np.mean(shares)) if shares and (categories == category).sum() >= depth else np.nan


def test_precision_is_the_literal_count_with_the_interval_of_resampled_patients():
    features, categories, subjects, query_features, query_categories, query_subjects = case()
    values = by_key(
        score(features, categories, subjects, query_features, query_categories, query_subjects, CLASSES, resamples=40)
    )
    both = np.concatenate([subjects, query_subjects])
    for category, name in enumerate(CLASSES):

        def again(rows, category=category):
            images, asked = rows[rows < 60], rows[rows >= 60] - 60
            return literal(
                5, features[images], categories[images], query_features[asked], query_categories[asked], category
            )

        value = values["precision_at_5", name]
        assert value.value == pytest.approx(again(np.arange(69)), abs=1e-9)
        assert (value.low, value.high) == pytest.approx(bootstrap(again, [np.arange(69)], both, 40), abs=1e-9)
        assert value.n == (categories == category).sum()
    assert values["precision_at_50", "macro"].value is None
    shares = np.bincount(categories) / 60
    assert [values["precision_chance", name].value for name in CLASSES] == pytest.approx(shares, abs=1e-9)


def test_nobody_is_on_both_sides_and_no_more_images_than_asked_for():
    rng = np.random.default_rng(1)
    labels, subjects = np.eye(3)[rng.integers(0, 3, 400)], rng.integers(0, 150, 400).astype(str)
    config = ImageImageRetrievalSettings(queries=4, candidates=30)
    queries, candidates = choose_images(labels, subjects, config, seed=2)
    assert Counter(queries.categories.tolist()) == {0: 4, 1: 4, 2: 4}
    assert max(Counter(candidates.categories.tolist()).values()) == 30
    assert not set(subjects[queries.rows]) & set(subjects[candidates.rows])
    for chosen in (queries, candidates):
        np.testing.assert_array_equal(labels[chosen.rows].argmax(1), chosen.categories)
    again = choose_images(labels, subjects, config, seed=2)
    np.testing.assert_array_equal(candidates.rows, again[1].rows)
    assert set(queries.rows) != set(choose_images(labels, subjects, config, seed=3)[0].rows)


def test_every_candidate_ranks_those_of_other_patients():
    features, categories, subjects, *_ = case()
    given = features, categories, subjects
    values = by_key(score(*given, *given, CLASSES, resamples=40, own_patient="left out"))

    def again(rows, metric, category):
        found = []
        for query in rows[categories[rows] == category]:
            others = rows[subjects[rows] != subjects[query]]
            if metric == "chance":
                found.append(np.mean(categories[others] == category))
            elif (categories[others] == category).sum() >= 10:
                asked = features[[query]], categories[[query]]
                found.append(literal(10, features[others], categories[others], *asked, category))
        return float(np.mean(found)) if found else np.nan

    for category, name in enumerate(CLASSES):
        for metric, key in (("ten", "precision_at_10"), ("chance", "precision_chance")):
            value = values[key, name]
            assert value.value == pytest.approx(again(np.arange(60), metric, category), abs=1e-9)
            expected = bootstrap(
                lambda rows, metric=metric, category=category: again(rows, metric, category),
                *([np.arange(60)], subjects, 40),
            )
            assert (value.low, value.high) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(EvaluationError, match="both sides"):
        score(*given, *given, CLASSES)


def test_queries_of_zero_are_the_candidates():
    labels = np.eye(3)[np.arange(90) % 3]
    config = ImageImageRetrievalSettings(queries=0, candidates=20)
    queries, candidates = choose_images(labels, np.arange(90).astype(str), config)
    assert queries.rows.tolist() == candidates.rows.tolist()
    assert Counter(candidates.categories.tolist()) == {0: 20, 1: 20, 2: 20}


def test_a_patient_on_both_sides_and_diverged_features_are_refused():
    features, categories, subjects, query_features, query_categories, query_subjects = case()
    with pytest.raises(EvaluationError, match="both sides"):
        score(features, categories, subjects, query_features, query_categories, [subjects[0]] * 9, CLASSES)
    query_features[0] = np.nan
    with pytest.raises(EvaluationError, match="diverged"):
        score(features, categories, subjects, query_features, query_categories, query_subjects, CLASSES)


def test_an_image_without_features_is_like_no_other():
    features, categories, subjects, query_features, query_categories, query_subjects = case()
    features[:] = 0
    values = by_key(score(features, categories, subjects, query_features, query_categories, query_subjects, CLASSES))
    first = (categories[:5] == 0).mean()
    assert values["precision_at_5", "a"].value == pytest.approx(first, abs=1e-9)


def test_nothing_to_choose_from():
    queries, candidates = choose_images(np.zeros((5, 3)), list("abcde"))
    assert len(queries.rows) == len(candidates.rows) == 0
    empty = np.empty((0, 4))
    none = empty, queries.categories, [], empty, queries.categories, [], CLASSES
    assert {value.value for value in score(*none, resamples=3)} == {None}
