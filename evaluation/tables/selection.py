"""What chose the settings behind a number, so that a table can say it."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.tasks.registry import task

PRETRAINED = (
    "The network is the last of its pretraining, or the one with the lowest loss on the validate split of the "
    "pretraining cohort; no label of a downstream task is read."
)


def describe_selection(tasks: Sequence[str]) -> list[str]:
    """What chose the network, then a sentence for each task."""
    return [PRETRAINED, *(f"{name}: {task(name).selection}" for name in tasks)]
