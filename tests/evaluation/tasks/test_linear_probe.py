"""The probe finds what a linear classifier can find, chooses its penalty on validate, and never sees a test patient."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.errors import EvaluationError
from evaluation.tasks import linear_probe
from evaluation.tasks.linear_probe import Labelled, fit_and_score, predict

CLASSES = ["A", "B"]


def sample(rows, seed, noise=1.0, name="p"):
    """Features of which the first two carry the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (rows, 2)).astype(np.float32)
    features = rng.normal(size=(rows, 20)).astype(np.float32) * noise
    features[:, :2] += labels
    return Labelled(features * 50 + 7, labels, np.array([f"{name}{row // 2}" for row in range(rows)]))


def split(noise=1.0):
    return [sample(200, 0, noise, "a"), sample(80, 1, noise, "b"), sample(300, 2, noise, "c")]


def test_auroc_is_that_of_the_chosen_probe():
    train, validate, test = split()
    values = fit_and_score(train, validate, test, CLASSES, resamples=50)
    scores = predict(train, validate, test.features)
    for column, value in enumerate(values[:2]):
        assert value.value == pytest.approx(roc_auc_score(test.labels[:, column], scores[:, column]))
        assert 0.65 < value.low < value.value < value.high
        assert value.n == 300
    assert (values[2].metric, values[2].class_name, values[2].n) == ("auroc", "macro", 2)
    assert values == fit_and_score(train, validate, test, CLASSES, resamples=50)


def test_features_without_information_are_chance():
    train, validate, test = split()
    train = Labelled(train.features[::-1], train.labels, train.subjects)
    values = fit_and_score(train, validate, test, CLASSES, resamples=200)
    assert values[2].low < 0.6


def test_the_penalty_is_chosen_on_the_validate_split(monkeypatch):
    train, validate, test = split(3.0)
    scores = predict(train, validate, test.features)
    alone = []
    for strength in linear_probe.STRENGTHS:
        monkeypatch.setattr(linear_probe, "STRENGTHS", (strength,))
        marks = [
            roc_auc_score(truth, column)
            for truth, column in zip(validate.labels.T, predict(train, validate, validate.features).T, strict=True)
        ]
        alone.append((np.mean(marks), predict(train, validate, test.features)))
    np.testing.assert_array_equal(scores, max(alone, key=lambda pair: pair[0])[1])
    assert len({mark for mark, _ in alone}) > 1


def test_units_of_the_features_do_not_matter():
    train, validate, test = split()

    def scaled(s):
        return Labelled(s.features * np.float32(1000), s.labels, s.subjects)

    ours = predict(train, validate, test.features)
    np.testing.assert_allclose(
        predict(scaled(train), validate=scaled(validate), features=test.features * 1000), ours, 1e-3
    )


def test_patients_of_the_other_splits_are_not_learnt_from():
    train, validate, test = split()
    leaked = Labelled(*(np.concatenate(pair) for pair in zip(vars(train).values(), vars(test).values(), strict=True)))
    expected = fit_and_score(train, validate, test, CLASSES, resamples=10)
    assert fit_and_score(leaked, validate, test, CLASSES, resamples=10) == expected


def test_classes_with_one_label_and_unknown_labels_are_left_out():
    train, validate, test = split()
    train.labels[:, 1] = 1
    train.labels[:50, 0], test.labels[:40, 0] = np.nan, -1
    one, other, macro = fit_and_score(train, validate, test, CLASSES, resamples=10)
    assert one.value is not None
    assert (one.n, other.value, macro.n) == (260, None, 1)


def test_an_empty_validate_split_leaves_the_strongest_penalty(monkeypatch):
    train, validate, test = split()
    nobody = validate.select(np.zeros(80, bool))
    scores = predict(train, nobody, test.features)
    monkeypatch.setattr(linear_probe, "STRENGTHS", linear_probe.STRENGTHS[:1])
    np.testing.assert_array_equal(scores, predict(train, nobody, test.features))


def test_mistakes_are_one_sentence():
    train, validate, test = split()
    with pytest.raises(EvaluationError, match="No image to fit"):
        fit_and_score(train.select(np.zeros(200, bool)), validate, test, CLASSES)
    with pytest.raises(EvaluationError, match="do not fit"):
        fit_and_score(train, validate, test, ["A"])
    test.features[0, 0] = np.inf
    with pytest.raises(EvaluationError, match="diverged"):
        fit_and_score(train, validate, test, CLASSES)


def exclusive_sample(rows, seed, classes=3, name="p"):
    rng = np.random.default_rng(seed)
    present = rng.integers(0, classes, rows)
    features = rng.normal(size=(rows, 8)).astype(np.float32)
    features[np.arange(rows), present] += 1.5
    labels = np.eye(classes, dtype=np.float32)[present]
    return Labelled(features, labels, np.array([f"{name}{row}" for row in range(rows)]))


def test_classes_that_exclude_one_another_share_one_softmax():
    train, validate, test = (exclusive_sample(150, seed, name=name) for seed, name in enumerate("abc"))
    scores = predict(train, validate, test.features, exclusive=True)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    values = fit_and_score(train, validate, test, ["A", "B", "C"], exclusive=True, resamples=50)
    found = values[-1]
    right = scores.argmax(axis=1) == test.labels.argmax(axis=1)
    assert (found.metric, found.class_name, found.n) == ("accuracy", "macro", 150)
    assert found.value == right.mean() > 0.6
    assert 0.4 < found.low < found.value < found.high < 1
    assert [value.class_name for value in values[:-1]] == ["A", "B", "C", "macro"]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_class_without_a_train_image_is_not_scored_and_never_chosen(missing):
    train, validate, test = (exclusive_sample(150, seed, name=name) for seed, name in enumerate("abc"))
    train = train.select(train.labels[:, :missing].sum(axis=1) == 0)
    values = fit_and_score(train, validate, test, ["A", "B", "C"], exclusive=True, resamples=20)
    assert [value.value is None for value in values[:3]] == [place < missing or missing == 2 for place in range(3)]
    if missing == 2:  # a single class is no choice
        assert values[-1].value is None
    else:
        assert values[-1].value <= (test.labels[:, 0] == 0).mean()
