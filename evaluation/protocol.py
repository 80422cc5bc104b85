"""What is asked of a network on which cohort: its tasks, the labels they read, and what silence about a label means.

The tasks are those of the papers (ConVIRT, MGCA, MedKLIP, LRCLR, GLoRIA, BioViL, BenchX) on the cohort. `OWN` is asked
on the cohort that a network was pretrained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from cohorts.labels import CHEXPERT_5, CHEXPERT_14
from cohorts.readers import (
    chestxray14,
    covid_rural,
    covidx,
    edema_severity,
    mura,
    object_cxr,
    rsna_pneumonia,
    siim_pneumothorax,
)


@dataclass(frozen=True)
class Protocol:
    """What is asked on one cohort."""

    tasks: tuple[str, ...]
    # Label -> the words it is asked for with; None: every label that names an observation that networks learn of.
    zero_shot: Mapping[str, str] | None = None
    labels: tuple[str, ...] = ()  # that classifiers learn; empty: all the cohort has
    exclusive: bool = False  # a film has exactly one of `labels`
    uncertain: str = "ignore"  # what uncertain labels become for a classifier to learn from: cohorts.labels.POLICIES
    blank: float = np.nan  # what a label becomes that nothing is said about
    regions: tuple[str, ...] = ()  # labels whose boxes, outlines and masks are detected and segmented


def _asked(*labels: str) -> Mapping[str, str]:
    """Labels that are asked for in their own words."""
    return MappingProxyType({label: label for label in labels})


CLASSIFICATION = ("zero_shot_classification", "linear_probe", "fine_tune")
RETRIEVAL = ("text_image_retrieval", "image_image_retrieval", "image_report_retrieval")

OWN = Protocol(
    ("zero_shot_classification", "zero_shot_grounding", "phrase_grounding", *RETRIEVAL, "linear_probe"),
)
DOWNSTREAM: Mapping[str, Protocol] = MappingProxyType(
    {
        "chexpert": Protocol(
            (*CLASSIFICATION, "text_image_retrieval", "image_image_retrieval"),
            zero_shot=_asked(*CHEXPERT_14),
            labels=CHEXPERT_5,
            uncertain="chexpert_5",
            blank=0.0,  # as GLoRIA, MGCA and BenchX read the mined labels
        ),
        "rsna_pneumonia": Protocol(
            (*CLASSIFICATION, "zero_shot_grounding", "detection", "segmentation"),
            zero_shot=_asked(rsna_pneumonia.PNEUMONIA),
            labels=(rsna_pneumonia.PNEUMONIA,),
            regions=(rsna_pneumonia.PNEUMONIA,),
        ),
        "siim_pneumothorax": Protocol(
            (*CLASSIFICATION, "zero_shot_grounding", "segmentation"),
            zero_shot=_asked(siim_pneumothorax.PNEUMOTHORAX),
            labels=(siim_pneumothorax.PNEUMOTHORAX,),
            regions=(siim_pneumothorax.PNEUMOTHORAX,),
        ),
        "chestxray14": Protocol(CLASSIFICATION, zero_shot=_asked(*chestxray14.FINDINGS), labels=chestxray14.FINDINGS),
        "covidx": Protocol(CLASSIFICATION, zero_shot=_asked(*covidx.CLASSES), labels=covidx.CLASSES, exclusive=True),
        "covid_rural": Protocol(
            ("zero_shot_grounding", "segmentation"),
            zero_shot=MappingProxyType({covid_rural.OPACITY: covidx.CLASSES[0]}),
            regions=(covid_rural.OPACITY,),
        ),
        "mura": Protocol(("linear_probe", "fine_tune"), zero_shot=_asked(), labels=(mura.ABNORMAL,)),
        "edema_severity": Protocol(("grading",), zero_shot=_asked(), labels=edema_severity.GRADES, exclusive=True),
        "object_cxr": Protocol(("detection",), zero_shot=_asked(), regions=(object_cxr.FOREIGN_OBJECT,)),
        "covid_chestxray": Protocol(("zero_shot_classification", "image_report_retrieval")),
        "mimic_cxr": Protocol(("zero_shot_classification", *RETRIEVAL), zero_shot=_asked(*CHEXPERT_14), blank=0.0),
        "open_i": Protocol(("zero_shot_classification", *RETRIEVAL), blank=0.0),  # indexed by what is there
    }
)
