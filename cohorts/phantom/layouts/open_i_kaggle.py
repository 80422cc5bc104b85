"""Open-i in the edition of Kaggle: two tables, and PNG images in images/images_normalized/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cohorts.phantom.files import write_image, write_rows
from cohorts.phantom.layouts.open_i import CAPTION, images_of, mesh, sections
from cohorts.phantom.simulated import SimulatedStudy, to_grey

REPORT_COLUMNS = ("uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression")


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write both tables and images/images_normalized/ in `root`; reports without images are left out."""
    reports, projections = [], []
    for study in studies:
        written = list(images_of(study))
        for name, projection, pixels in written:
            file_name = f"{name}.dcm.png"
            write_image(root / "images" / "images_normalized" / file_name, to_grey(pixels))
            projections.append((study.index + 1, file_name, projection))
        if written:
            terms = mesh(study)
            headings = dict.fromkeys(term.split("/")[0] for term in terms)
            found = sections(study)
            texts = [found[name] or None for name in ("indication", "comparison", "findings", "impression")]
            reports.append((study.index + 1, ";".join(terms), ";".join(headings), CAPTION, *texts))
    write_rows(root / "indiana_reports.csv", REPORT_COLUMNS, reports)
    write_rows(root / "indiana_projections.csv", ("uid", "filename", "projection"), projections)
