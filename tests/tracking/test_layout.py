"""What a run shows in MLflow: the same leading metrics for every method, and first what tells runs apart."""

from __future__ import annotations

from dataclasses import fields

import pytest

from evaluation.tasks.base import Setting
from evaluation.tasks.registry import task, task_names
from tracking.layout import COLUMNS, DESCRIPTION, LEADING, RESULTS, parameter, run_address, step_metric
from training.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("train/loss", "loss/train"),
        ("validation/loss", "loss/validation"),
        ("train/loss_local", "terms/train_local"),
        ("validation/loss_location", "terms/validation_location"),
        ("learning_rate", "training/learning_rate"),
        ("temperature", "training/temperature"),
        ("epoch", "training/epoch"),
        ("memory_gb", "usage/memory_gb"),
        ("train/other", "training/train/other"),
    ],
)
def test_every_metric_has_its_section(name, shown):
    assert step_metric(name) == shown


def test_charts_begin_with_losses_and_results():
    shown = map(step_metric, ("temperature", "memory_gb", "validation/loss_a", "train/loss", "validation/loss"))
    assert sorted({name.split("/")[0] for name in [*shown, *LEADING]})[:2] == ["loss", "results"]


def test_a_run_has_ten_leading_metrics_and_one_for_the_leading_number_of_each_task_on_its_own_dataset():
    assert len(LEADING) == len(set(LEADING)) == 10
    expected = set()
    for name in task_names():
        if task(name).on_pretraining_cohort:
            settings = task(name).repeated_settings((0.01, 1.0), 1)
            expected |= {"/".join([name, *_place(setting), task(name).leading, "macro"]) for setting in settings}
    assert set(RESULTS) == expected


def _place(setting: Setting) -> list[str]:
    return [] if setting.fraction is None else [setting.name.replace(" %", "pct")]


def test_the_description_names_every_column():
    for name in (*LEADING, "numbers.csv", "terms/", "training/", "usage/", "setting."):
        assert name in DESCRIPTION
    assert [column for column in COLUMNS if "metrics" in column] == [f"metrics.`{name}`" for name in LEADING]


def test_parameters_that_are_rarely_changed_come_last():
    names = sorted(map(parameter, [field.name for field in fields(TrainingConfig)] + ["cohort", "augmentation.window"]))
    first = [name for name in names if not name.startswith("setting.")]
    assert names[: len(first)] == first
    assert {"method", "cohort", "seed", "batch_size"} <= set(first)
    assert "setting.augmentation.window" in names


def test_a_link_leads_to_the_training_view():
    assert run_address("http://m:5000/", "7", "abc") == (
        "http://m:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    )
