"""Open-i in the edition of the National Library of Medicine with DICOM images, in NLMCXR_dcm/, in place of PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.layouts.open_i import images_of, write_xml
from cohorts.phantom.simulated import SimulatedStudy


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write ecgen-radiology/ and NLMCXR_dcm/ in `root`."""
    for study in studies:
        write_xml(root, study)
        for position, (name, projection, pixels) in enumerate(images_of(study)):
            image = replace(study, image_id=name, view=study.view if projection == "Frontal" else "LL")
            path = root / "NLMCXR_dcm" / str(study.index + 1) / f"{name}.dcm"
            write_dicom(path, pixels, image, inverted=(study.index + position) % 2 == 0)
