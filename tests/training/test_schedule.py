"""The learning rate as a function of the step, and of the validation losses where it waits for a plateau."""

from dataclasses import replace

import pytest

from training.config import TrainingConfig
from training.schedule import epochs_without_better, learning_rate, plateaus

CONFIG = TrainingConfig("toy", learning_rate=1e-3, final_learning_rate=1e-5, warmup_start=0.1)


def test_the_cosine_warms_up_then_falls_to_its_end():
    rates = [learning_rate(CONFIG, step, 100, 10, ()) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[10] == pytest.approx(1e-3)
    assert rates[100] == pytest.approx(1e-5)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_constant_stays():
    config = replace(CONFIG, schedule="constant")
    assert {learning_rate(config, step, 100, 0, [1.0, 2.0]) for step in range(100)} == {1e-3}


def test_a_plateau_lowers_the_rate_down_to_the_final_one():
    config = replace(CONFIG, schedule="plateau", plateau_patience=2, plateau_factor=0.1)
    falling, flat = [3.0, 2.0, 1.0], [1.0, 2.0, 2.0]
    assert learning_rate(config, 5, 100, 0, falling) == pytest.approx(1e-3)
    assert learning_rate(config, 5, 100, 0, flat) == pytest.approx(1e-4)
    assert learning_rate(config, 5, 100, 0, [1.0] * 20) == pytest.approx(1e-5)


def test_plateaus_count_rows_of_bad_epochs():
    assert plateaus([], 2) == plateaus([5, 4, 3, 3], 2) == 0
    assert plateaus([5, 4, 6, 6, 6, 6], 2) == 2
    assert plateaus([5, 6, 4, 6, 6, 3], 2) == 1


def test_epochs_since_the_lowest_loss():
    assert epochs_without_better([]) == epochs_without_better([3, 2]) == 0
    assert epochs_without_better([3, 2, 2, 4]) == 2
