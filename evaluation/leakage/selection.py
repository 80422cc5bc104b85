"""Sentences about how networks and settings were selected."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.tasks.registry import task

PRETRAINED = (
    "The network is the last of its pretraining, or the one with the lowest loss on the validate split of the "
    "pretraining cohort. No label of a downstream task is read."
)


def describe_selection(tasks: Sequence[str]) -> list[str]:
    """How the network was selected, then a sentence for each task."""
    return [PRETRAINED, *(f"{name}: {task(name).selection}" for name in tasks)]
