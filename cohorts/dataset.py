"""The facts of a dataset: which labels it has, and what its annotations can be used for.

The module of a reader declares them as `DATASET`. Evaluation uses them without opening the archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import nan
from typing import Any

# Uses of the annotations of a dataset. A task names the one that it needs (`evaluation.tasks.base`).
ZERO_SHOT = "zero_shot"  # labels that can be asked for in words
CLASSES = "classes"  # labels that a classifier can learn
GRADES = "grades"  # levels of severity, one per image
REGIONS = "regions"  # masks, outlines or boxes of findings that can be asked for in words
BOXES = "boxes"  # boxes to detect
MASKS = "masks"  # regions to segment
PHRASES = "phrases"  # reports and regions of the findings that they mention
CATEGORIES = "categories"  # images that have one of the findings of ConVIRT's retrieval, and no other
REPORTS = "reports"  # a report for each image
_SAYS = ": "  # between the class and the phrase of a region
PURPOSES = (ZERO_SHOT, CLASSES, GRADES, REGIONS, BOXES, MASKS, PHRASES, CATEGORIES, REPORTS)


@dataclass(frozen=True)
class Dataset:
    """A dataset's labels and what they mean."""

    name: str
    purposes: tuple[str, ...] = ()  # of PURPOSES
    # Label -> the words that zero-shot tasks use for it; None: every label that is the name of a known observation.
    zero_shot: Mapping[str, str] | None = None
    classes: tuple[str, ...] = ()  # labels that classifiers learn; empty: all labels that occur
    exclusive: bool = False  # an image has exactly one of `classes`
    uncertain: str = "ignore"  # what uncertain labels become in training: cohorts.labels.POLICIES
    blank: float = nan  # what a label becomes that nothing is said about
    regions: tuple[str, ...] = ()  # labels whose boxes, outlines and masks are detected and segmented
    # Archives whose images the dataset holds, under any name, and those whose patient identifiers it keeps. Datasets
    # that name the same archive may share images or patients (`evaluation.leakage`).
    image_sources: tuple[str, ...] = ()
    patient_sources: tuple[str, ...] = ()
    licence: str = ""  # of images and labels, as the archive states it; empty: its reader does not know it

    def facts(self) -> dict[str, Any]:
        """Everything that results on the dataset depend on, as JSON can write it."""
        others = ("image_sources", "patient_sources", "licence")
        return {name: value for name, value in asdict(self).items() if name not in others}


def in_own_words(*labels: str) -> Mapping[str, str]:
    """Labels that zero-shot tasks call by their own names."""
    return {label: label for label in labels}


def label_phrase(name: str, phrase: str) -> str:
    """The label of a region that an annotator drew for a phrase of its own: `Pneumothorax: small left pneumothorax`."""
    return f"{name}{_SAYS}{phrase}"


def class_of(label: str) -> str:
    """The class of a region: its label, without the phrase."""
    return label.partition(_SAYS)[0]


def phrase_of(label: str) -> str:
    """The phrase of a region; empty where it was drawn for its class."""
    return label.partition(_SAYS)[2]
