"""Tuning finds what is there to see, the same way every time, in a copy of the method it was given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch import nn

from evaluation.dataset import Images
from evaluation.errors import NotAvailableError
from evaluation.learning import classifier as learning
from evaluation.learning.annotated import LabelledImages, prepare
from evaluation.learning.classifier import exclusive_loss, fit_and_score, independent_loss, tune
from evaluation.metrics.classification import bootstrap
from evaluation.tasks.fine_tune import FineTuneSettings
from models.method import Method
from tests.evaluation.small_method import assert_same_state, images, join_images, small_method, state_of
from tests.models.tiny import tiny_method

CLASSES = ["square", "coin"]
QUICK = FineTuneSettings(learning_rate=0.02, batch_size=16, epochs=6, crop_scale=0.9)


def split(count, seed):
    """Images on half of which there is a square; a coin decides the other label. Two images per patient."""
    pixels, bright = images(count, seed)
    coin = np.random.default_rng(seed).random(count) < 0.5
    labels = np.stack([bright, coin], axis=1).astype(np.float32)
    subjects = np.array([f"{seed}-{row // 2}" for row in range(count)])
    return LabelledImages(Images.of_array(pixels, subjects), labels)


def splits():
    return split(80, 0), split(30, 1), split(60, 2)


def exclusive(parts):
    """The same images with three classes of which each has one: no square, and square by coin."""
    bright, coin = parts.labels.astype(bool).T
    return replace(parts, labels=np.stack([~bright, bright & coin, bright & ~coin], axis=1).astype(float))


@pytest.mark.parametrize("head_first", [False, True])
def test_it_learns_what_is_there_and_nothing_else(head_first):
    square, coin, macro = fit_and_score(
        small_method(), *splits(), CLASSES, replace(QUICK, head_first=head_first), repeat=0, resamples=200
    )
    assert square.value > 0.95
    assert square.low > 0.8
    assert coin.low < 0.5 < coin.high
    assert (macro.class_name, macro.n, square.n) == ("macro", 2, 60)
    assert macro.value == pytest.approx((square.value + coin.value) / 2)


def test_the_repeat_decides_and_the_method_is_left_alone():
    method = small_method()
    method.second.requires_grad_(False)
    before, random = state_of(method), torch.get_rng_state()
    repeats = [fit_and_score(method, *splits(), CLASSES, QUICK, repeat, resamples=20) for repeat in (0, 0, 1)]
    assert repeats[0] == repeats[1] != repeats[2]
    assert_same_state(method, before)
    assert [weight.requires_grad for weight in method.second.parameters()] == [False] * 4
    assert torch.equal(torch.get_rng_state(), random)


def test_numbers_are_those_of_the_tuned_classifier():
    prepared = prepare(*splits(), CLASSES, exclusive=False)
    classifier = tune(small_method(), *prepared[:2], QUICK, repeat=3, exclusive=False)
    scores, labels = classifier.probabilities(prepared[2].pixels, exclusive=False), prepared[2].labels
    values = fit_and_score(small_method(), *splits(), CLASSES, QUICK, repeat=3, resamples=50)
    for column, value in enumerate(values[:2]):
        truth = labels[:, column], scores[:, column]
        assert value.value == pytest.approx(roc_auc_score(*truth), abs=1e-9)
        assert (value.low, value.high) == pytest.approx(bootstrap(roc_auc_score, truth, splits()[2].subjects, 50))


def test_exclusive_classes_have_an_accuracy():
    parts = [exclusive(part) for part in splits()]
    parts[2].labels[:4] = np.nan  # of unknown class
    names = ["none", "heads", "tails"]
    values = fit_and_score(small_method(), *parts, names, QUICK, repeat=0, exclusive=True, resamples=50)
    prepared = prepare(*parts, names, exclusive=True)
    scores = tune(small_method(), *prepared[:2], QUICK, 0, True).probabilities(parts[2].pixels, exclusive=True)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    said, truth = scores.argmax(axis=1)[4:], parts[2].labels[4:].argmax(axis=1)
    assert [value.metric for value in values] == ["auroc"] * 4 + ["accuracy"]
    assert values[4].value == pytest.approx(accuracy_score(truth, said), abs=1e-9)
    assert (values[4].class_name, values[4].n) == ("macro", 56)
    assert values[4].low < values[4].value < values[4].high
    assert values[0].value > 0.95


def test_unknown_labels_and_classes_with_one_label():
    train, validate, test = splits()
    train.labels[:, 1] = 1
    train.labels[:10, 0] = np.nan
    square, coin, macro = fit_and_score(small_method(), train, validate, test, CLASSES, QUICK, repeat=0, resamples=20)
    assert (square.value > 0.9, coin.value, coin.n, macro.n) == (True, None, 0, 1)


def test_an_unknown_label_teaches_nothing():
    train, validate, test = splits()
    train.labels[::3, 1] = np.nan
    changed = replace(train, labels=np.where(np.isnan(train.labels), -1, train.labels))
    first, second = (
        fit_and_score(small_method(), part, validate, test, CLASSES, QUICK, 0, resamples=5) for part in (train, changed)
    )
    assert first == second


def test_patients_of_other_splits_are_not_learnt_from():
    train, validate, test = splits()
    parts = train, test, validate
    leaked = LabelledImages(join_images(*parts), np.concatenate([part.labels for part in parts]))
    expected = fit_and_score(small_method(), train, validate, test, CLASSES, QUICK, 0, resamples=5)
    assert fit_and_score(small_method(), leaked, validate, test, CLASSES, QUICK, 0, resamples=5) == expected


def chosen_by(validate, monkeypatch):
    """What `_quality` says of every validation while a classifier is tuned."""
    said, quality = [], learning._quality

    def told(*arguments):
        measured = quality(*arguments)
        return measured and (lambda: said.append(measured()) or said[-1])

    monkeypatch.setattr(learning, "_quality", told)
    train, validate, _ = prepare(split(80, 0), validate, split(60, 2), CLASSES, exclusive=False)
    classifier = tune(small_method(), train, validate, QUICK, repeat=0, exclusive=False)
    return said, classifier


def test_the_best_auroc_on_validate_decides(monkeypatch):
    validate = split(30, 1)
    said, classifier = chosen_by(validate, monkeypatch)
    scores = classifier.logits(validate.pixels)
    assert max(said) == pytest.approx(roc_auc_score(validate.labels, scores), abs=1e-9)  # the mean of both columns
    assert len(set(said)) > 1


def test_the_lowest_loss_decides_where_there_is_no_auroc(monkeypatch):
    validate = split(30, 1)
    validate.labels[:] = [0, np.nan]
    said, classifier = chosen_by(validate, monkeypatch)
    scores = classifier.probabilities(validate.pixels, exclusive=False)[:, 0]
    assert -max(said) == pytest.approx(log_loss(validate.labels[:, 0], scores, labels=[0, 1]), abs=1e-5)


def test_without_a_validate_split_the_last_epoch_stays(monkeypatch):
    nobody = LabelledImages(Images.of_array(np.empty((0, 16, 16), np.uint8), np.empty(0, str)), np.empty((0, 2)))
    said, _ = chosen_by(nobody, monkeypatch)
    assert said == []


def test_the_head_alone_is_trained_first(monkeypatch):
    phases, fit = [], learning.fit

    def recorded(module, *arguments):
        before = state_of(module.method)
        fit(module, *arguments)
        moved = any(not torch.equal(tensor, before[1][name]) for name, tensor in module.method.state_dict().items())
        phases.append((arguments[3].learning_rate, moved))

    monkeypatch.setattr(learning, "fit", recorded)
    fit_and_score(small_method(), *splits(), CLASSES, replace(QUICK, head_first=True), 0, resamples=5)
    assert phases == [(1e-3, False), (0.02, True)]


def test_losses_are_those_of_scikit_learn():
    logits = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0.0, 1.0, torch.nan])[torch.arange(150) % 3].reshape(50, 3).roll(1, 0).double()
    known = ~labels.isnan()
    expected = log_loss(labels[known], logits.sigmoid()[known])
    assert independent_loss(logits, labels).item() == pytest.approx(expected, abs=1e-9)
    classes = torch.arange(50) % 3
    one_hot = nn.functional.one_hot(classes, 3).double()
    one_hot[7] = torch.nan
    rows = torch.arange(50) != 7
    expected = log_loss(classes[rows], logits.softmax(1)[rows])
    assert exclusive_loss(logits, one_hot).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["convirt", "gloria", "medklip"])
def test_encoders_can_be_tuned(name):
    config = FineTuneSettings(batch_size=8, maximum_steps=2, validate_every=2)
    values = fit_and_score(tiny_method(name), split(16, 0), split(4, 1), split(8, 2), CLASSES, config, 0, resamples=5)
    assert values[0].value is not None


def test_a_method_without_features_is_not_available():
    method = Method()
    method.weight = nn.Parameter(torch.zeros(1))
    with pytest.raises(NotAvailableError, match="Method has no image features"):
        fit_and_score(method, *splits(), CLASSES, QUICK, 0)
