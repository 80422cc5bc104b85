"""Open-i in the edition of the National Library of Medicine: XML reports, and PNG images in NLMCXR_png/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from cohorts.phantom.files import write_image
from cohorts.phantom.simulated import SimulatedStudy, to_grey
from report_parsing.reports import ReportOptions, parse_report
from store.atomic import write_text

SECTIONS = ("comparison", "indication", "findings", "impression")
MESH = {
    "effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "consolidation": "Consolidation",
    "cardiomegaly": "Cardiomegaly",
    "nodule": "Nodule",
    "edema": "Pulmonary Edema",
    "atelectasis": "Pulmonary Atelectasis",
    "line": "Catheters, Indwelling",
    "tube": "Tube, Inserted",
}
NOT_CODED_EVERY, POOR_EVERY, NO_IMAGE_EVERY = 31, 11, 37
CAPTION = "Xray Chest PA and Lateral"
XML = """<?xml version="1.0" encoding="utf-8"?><eCitation>
   <meta type="rr"/>
   <uId id="CXR{number}"/>
   <pmcId id="{number}"/>
   <docSource>CXR</docSource>
   <IUXRId id="{number}"/>
   <licenseType>open-access</licenseType>
   <licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>
   <MedlineCitation Owner="Phantom" Status="supplied by publisher">
      <Article PubModel="Electronic">
         <ArticleTitle>Simulated chest radiographs</ArticleTitle>
         <Abstract>
{sections}
         </Abstract>
      </Article>
   </MedlineCitation>
   <MeSH>
{terms}
   </MeSH>
{images}
</eCitation>
"""


def write(root: Path, studies: Sequence[SimulatedStudy]) -> None:
    """Write ecgen-radiology/ and NLMCXR_png/ in `root`."""
    for study in studies:
        write_xml(root, study)
        for name, _, pixels in images_of(study):
            write_image(root / "NLMCXR_png" / f"{_nlm_name(study, name)}.png", to_grey(pixels))


def images_of(study: SimulatedStudy) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, projection and pixels of each image: `1_IM-0001-4001`."""
    if study.index % NO_IMAGE_EVERY == NO_IMAGE_EVERY - 1:
        return
    yield f"{study.index + 1}_IM-{study.index * 7 % 9999 + 1:04d}-1001", "Frontal", study.pixels
    if study.lateral is not None:
        yield f"{study.index + 1}_IM-{study.index * 7 % 9999 + 1:04d}-2001", "Lateral", study.lateral


def mesh(study: SimulatedStudy) -> list[str]:
    """The codes of a report: findings called present with their side, `normal`, or `No Indexing`."""
    if study.index % NOT_CODED_EVERY == NOT_CODED_EVERY - 1:
        return ["No Indexing"]
    side_of = {finding.name: finding.side for finding in study.findings}
    sides = {"left": "/left", "right": "/right", "both": "/bilateral"}
    terms = [
        name + sides.get(side_of.get(finding, ""), "") for finding, name in MESH.items() if finding in study.present()
    ]
    if terms and study.index % POOR_EVERY == 0:
        terms.append("Technical Quality of Image Unsatisfactory ")  # with the blank that the source has
    return terms or ["normal"]


def sections(study: SimulatedStudy) -> dict[str, str]:
    """The four sections of the report, each on one line, empty where it has none."""
    parsed = parse_report(study.report, "sectioned", ReportOptions(required=()))
    return {name: " ".join((getattr(parsed, name) or "").split()) for name in SECTIONS}


def _nlm_name(study: SimulatedStudy, name: str) -> str:
    """Some identifiers have the number of the report twice, others once."""
    return f"CXR{study.index + 1}_{name}" if study.index % 2 == 0 else f"CXR{name}"


def write_xml(root: Path, study: SimulatedStudy) -> None:
    """Write the report of a study, with its codes and the names of its images."""
    parts = [
        f'            <AbstractText Label="{name.upper()}">{escape(text)}</AbstractText>'
        for name, text in sections(study).items()
    ]
    terms = [f"      <major>{escape(term)}</major>" for term in mesh(study)]
    terms += [f"      <automatic>{escape(MESH[name].lower())}</automatic>" for name in sorted(study.present())]
    opening = [f"   <parentImage id={quoteattr(_nlm_name(study, name))}>" for name, _, _ in images_of(study)]
    images = [f"{tag}\n      <caption>{CAPTION}</caption>\n   </parentImage>" for tag in opening]
    text = XML.format(
        number=study.index + 1, sections="\n".join(parts), terms="\n".join(terms), images="\n".join(images)
    )
    write_text(root / "ecgen-radiology" / f"{study.index + 1}.xml", text)
