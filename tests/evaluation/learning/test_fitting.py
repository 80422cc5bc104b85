"""What is trained is trained as told, stops as told, and ends with the best weights; what is frozen stays as it is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evaluation.dataset import Images
from evaluation.errors import EvaluationError
from evaluation.learning.fitting import FitOptions, _batches, fit, image_tensor, own_patients, seeded
from tests.evaluation.small_method import assert_same_state, images, state_of

INPUTS = torch.linspace(-1, 1, 40).reshape(20, 2)
TARGETS = INPUTS @ torch.tensor([[2.0], [-1.0]]) + 0.5


def line():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(2, 1)


def fitted(module, validate=None, seed=0, progress=None, **options):
    def loss_of(rows):
        return (module(INPUTS[rows]) - TARGETS[rows]).square().mean()

    chosen = FitOptions(**{"learning_rate": 0.05, "batch_size": 8, **options})
    return fit(module, loss_of, len(INPUTS), validate, chosen, seed, progress)


def scripted(module, values, seen):
    """A validation that gives `values` one after the other and remembers the weights it saw."""

    def validate():
        assert not module.training
        seen.append(module.weight.detach().clone())
        return values[len(seen) - 1]

    return validate


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_it_learns(optimizer):
    module = line()
    fitted(module, epochs=200, optimizer=optimizer)
    torch.testing.assert_close(module(INPUTS), TARGETS, rtol=0.01, atol=0.01)
    assert not module.training


def test_the_weights_of_the_best_validation_stay_and_of_equals_the_first():
    module, seen = line(), []
    fitted(module, scripted(module, [0.1, 0.7, float("nan"), 0.7, 0.2], seen), epochs=5)
    assert len(seen) == 5
    torch.testing.assert_close(module.weight.detach(), seen[1], rtol=0, atol=0)
    assert not torch.equal(seen[1], seen[3])


def test_without_a_validation_the_last_weights_stay():
    module, seen = line(), []
    fitted(module, epochs=2)
    other = line()
    fitted(other, scripted(other, [0.0, 1.0], seen), epochs=2)
    torch.testing.assert_close(module.weight, other.weight, rtol=0, atol=0)


def test_it_ends_when_patience_is_over():
    module, seen = line(), []
    assert fitted(module, scripted(module, [0.5, 0.6, 0.6, 0.1, 0.9], seen), epochs=9, patience=2) == 4 * 3
    module, seen = line(), []
    assert fitted(module, scripted(module, [0.5] + [0.1] * 8, seen), epochs=9, patience=0) == 9 * 3


def test_steps_are_capped_and_the_last_one_is_validated():
    module, seen, told = line(), [], []
    steps = fitted(
        module, scripted(module, [0, 1], seen), epochs=9, maximum_steps=5, progress=lambda *p: told.append(p)
    )
    assert (steps, len(seen)) == (5, 2)
    assert told == [(step, 5) for step in range(1, 6)]
    torch.testing.assert_close(module.weight.detach(), seen[1], rtol=0, atol=0)


@pytest.mark.parametrize(("every", "validations"), [(0, 6), (3, 6), (4, 3), (6, 3), (7, 2), (100, 1)])
def test_validations_are_apart(every, validations):
    module, seen = line(), []
    fitted(module, scripted(module, [0] * 9, seen), epochs=6, validate_every=every)  # of 3 steps
    assert len(seen) == validations


@given(st.integers(1, 200), st.integers(1, 70), st.integers(0, 5))
def test_every_epoch_has_every_image_once_in_batches_of_one_size(count, batch, seed):
    steps = -(-count // batch)
    stream = _batches(count, steps, seed)
    for _ in range(2):
        epoch = [next(stream) for _ in range(steps)]
        assert sorted(np.concatenate(epoch)) == list(range(count))
        sizes = [len(rows) for rows in epoch]
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


def test_the_seed_orders_the_images():
    weights = []
    for seed in (0, 0, 1):
        module = line()
        fitted(module, epochs=2, seed=seed)
        weights.append(module.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_frozen_parts_keep_weights_statistics_and_mode():
    frozen = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).requires_grad_(False)
    head = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    module, modes = nn.Sequential(frozen, head), []
    before, statistics = state_of(frozen.eval()), head[0].running_mean.clone()

    def loss_of(rows):
        modes.append([part.training for part in (frozen, frozen[1], frozen[2], head[0], head[1])])
        return (module(INPUTS[rows]) - TARGETS[rows]).square().mean()

    fit(module, loss_of, len(INPUTS), lambda: 0.0, FitOptions(0.01, batch_size=5, epochs=2), 0)
    assert modes == [[False, False, False, True, True]] * 8
    assert_same_state(frozen, before)
    assert not torch.equal(head[0].running_mean, statistics)


def test_random_numbers_of_others_go_on_as_before():
    def drawn(seed):
        with seeded(seed, torch.device("cpu")):
            return torch.rand(3)

    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.rand(2), expected)


def test_images_are_chosen_when_they_are_asked_for():
    pixels, _ = images(6, 0)
    chosen = Images.of_array(pixels, np.arange(6)).select(np.array([5, 0, 3])).pixels
    assert len(chosen) == 3
    np.testing.assert_array_equal(chosen[1:], pixels[[0, 3]])
    np.testing.assert_array_equal(image_tensor(chosen, np.array([2, 0]), torch.device("cpu"))[:, 0], pixels[[3, 5]])


@given(*[st.lists(st.sampled_from("abcdef"), max_size=8)] * 3)
def test_no_patient_is_shared(train, validate, test):
    expected = [row for row, name in enumerate(train) if name not in validate + test]
    subjects = [np.array(names, dtype=str) for names in (train, validate, test)]
    if test and expected:
        assert list(own_patients(*subjects)) == expected
        return
    with pytest.raises(EvaluationError, match="No image to train on" if test else "No image to score"):
        own_patients(*subjects)


def test_options_are_read_from_a_configuration_of_a_task():
    class Config:
        learning_rate, epochs, other = 0.5, 7, "of the task alone"

    assert FitOptions.of(Config(), epochs=3) == FitOptions(0.5, epochs=3)


def test_mistakes_are_one_sentence():
    with pytest.raises(EvaluationError, match="optimizer is `sgd`, but must be one of adam, adamw"):
        FitOptions(0.1, optimizer="sgd")
    with pytest.raises(EvaluationError, match="batch_size is 0"):
        FitOptions(0.1, batch_size=0)
    with pytest.raises(EvaluationError, match="no finite number at step 0"):
        fit(line(), lambda rows: torch.tensor(torch.nan), 3, None, FitOptions(0.1), 0)
