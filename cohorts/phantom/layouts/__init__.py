"""Simulated studies written down in the layouts of published datasets, so that their readers run without them.

A layout is one file with a function `write(root, studies)` and one line in LAYOUTS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from cohorts.phantom.layouts.drawn import DrawnStudy, draw
from cohorts.phantom.marker import mark

LAYOUTS: dict[str, str] = {
    "mimic_cxr": "mimic_cxr:write",
    "mimic_cxr_jpg": "mimic_cxr_jpg:write",
    "open_i": "open_i:write",
    "open_i_dicom": "open_i:write_with_dicom",
    "open_i_kaggle": "open_i:write_kaggle",
    "chexpert": "chexpert:write",
    "chestxray14": "chestxray14:write",
    "rsna_pneumonia": "rsna_pneumonia:write",
    "siim_pneumothorax": "siim_pneumothorax:write",
    "covid_chestxray": "covid_chestxray:write",
    "covidx": "covidx:write",
    "covid_rural": "covid_rural:write",
    "edema_severity": "edema_severity:write",
    "object_cxr": "object_cxr:write",
    "mura": "mura:write",
}

__all__ = ["LAYOUTS", "DrawnStudy", "draw", "layout_writer"]


def layout_writer(name: str) -> Callable[[Path, Sequence[DrawnStudy]], None]:
    """The function that writes drawn studies in the layout `name`, and that they are drawn.

    KeyError for a name that is not in LAYOUTS.
    """
    module, function = LAYOUTS[name].split(":")
    write = getattr(import_module(f"cohorts.phantom.layouts.{module}"), function)

    def write_marked(root: Path, studies: Sequence[DrawnStudy]) -> None:
        write(root, studies)
        mark(root)

    return write_marked
