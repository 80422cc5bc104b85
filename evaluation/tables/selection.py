"""What chose the settings behind a number: the rule of every task, so that a table can say it."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

PRETRAINED = (
    "The network is the last of its pretraining, or the one with the lowest loss on the validate split of the "
    "pretraining cohort; no label of a downstream task is read."
)
TRAINED = "The epoch that is kept is the best on the validate split."
NOTHING = "Nothing is chosen."
RULES = MappingProxyType(
    {
        "zero_shot_classification": (
            "Thresholds are chosen on the validate split; metrics that end in `_by_test_f1` take MedKLIP's, from the "
            "test set, and are flattered."
        ),
        "zero_shot_grounding": (
            "Thresholds are chosen on the validate split; metrics that end in `_by_test_dice` take MedKLIP's, from the "
            "test set, and are flattered."
        ),
        "phrase_grounding": "Nothing is chosen: the levels of the regions are set in advance.",
        "linear_probe": "The penalty is chosen on the validate split.",
        "fine_tune": TRAINED,
        "grading": f"{TRAINED} Thresholds are chosen there, too.",
        "detection": TRAINED,
        "segmentation": TRAINED,
        "text_image_retrieval": NOTHING,
        "image_image_retrieval": NOTHING,
        "image_report_retrieval": NOTHING,
    }
)


def selection(tasks: Sequence[str]) -> list[str]:
    """What chose the network, then a sentence for each task."""
    return [PRETRAINED, *(f"{task}: {RULES[task]}" for task in tasks)]
