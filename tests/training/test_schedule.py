"""The learning rate as a function of the step, and of the validation losses where it waits for a plateau."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import TrainingConfig
from training.schedule import epochs_without_better, learning_rate, reduced_rate

CONFIG = TrainingConfig("toy", learning_rate=1e-3, final_learning_rate=1e-5, warmup_start=0.1, warmup_epochs=1.0)


def test_the_cosine_warms_up_then_falls_to_its_end():
    rates = [learning_rate(CONFIG, step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[10] == pytest.approx(1e-3)
    assert rates[100] == pytest.approx(1e-5)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_constant_stays():
    config = replace(CONFIG, schedule="constant", warmup_epochs=0)
    assert {learning_rate(config, step, 100, 10, [1.0, 2.0]) for step in range(100)} == {1e-3}


def test_milestones_lower_the_rate_as_torchs_multistep_does():
    config = replace(CONFIG, schedule="milestones", warmup_epochs=0, milestones="2+3.5+6", milestone_factor=0.5)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.learning_rate)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [20, 35, 60], 0.5)
    for step in range(70):
        assert learning_rate(config, step, 70, 10) == pytest.approx(theirs.get_last_lr()[0], rel=1e-12), step
        optimizer.step()
        theirs.step()


def test_a_plateau_lowers_the_rate_down_to_the_final_one():
    config = replace(CONFIG, schedule="plateau", plateau_patience=2, plateau_factor=0.1, warmup_epochs=0)
    falling, flat = [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 2.0, 2.0]
    assert learning_rate(config, 5, 100, 10, falling) == pytest.approx(1e-3)
    assert learning_rate(config, 5, 100, 10, flat[:3]) == pytest.approx(1e-3)
    assert learning_rate(config, 5, 100, 10, flat) == pytest.approx(1e-4)
    assert learning_rate(config, 5, 100, 10, [1.0] * 20) == pytest.approx(1e-5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-2, 2) | st.sampled_from([math.nan, math.inf, 0.0]), max_size=40),
    st.integers(1, 6),
    st.sampled_from([0.1, 0.5, 0.9]),
    st.sampled_from([0.0, 1e-4]),
)
def test_a_plateau_is_torchs(losses, patience, factor, lowest):
    config = replace(CONFIG, plateau_patience=patience, plateau_factor=factor, final_learning_rate=lowest)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=factor, patience=patience, min_lr=lowest)
    for number, loss in enumerate(losses, 1):
        scheduler.step(loss)
        assert reduced_rate(config, losses[:number]) == optimizer.param_groups[0]["lr"]


def test_a_staircase_leaves_out_what_the_first_epoch_is_too_short_for():
    config = replace(CONFIG, schedule="staircase", stair_steps=10, stairs=3)
    rates = [learning_rate(config, step, 100, 25) for step in range(100)]
    assert rates[:11] == [pytest.approx(1e-4)] * 11
    assert rates[11:21] == [pytest.approx(4e-4)] * 10
    assert rates[21:25] == [pytest.approx(7e-4)] * 4
    assert len(set(rates[25:])) == 3  # one rate for each further epoch


def test_epochs_since_the_lowest_loss():
    assert epochs_without_better([]) == epochs_without_better([3, 2]) == 0
    assert epochs_without_better([3, 2, 2, 4]) == 2
