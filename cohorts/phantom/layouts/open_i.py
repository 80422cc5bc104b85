"""Open-i in its two editions: XML reports with PNG or DICOM films, and the two tables of Kaggle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from cohorts.phantom.dicom import write_dicom
from cohorts.phantom.files import replace_text, write_film, write_rows
from cohorts.phantom.layouts.drawn import DrawnStudy, to_grey
from report_parsing.reports import ReportOptions, parse_report

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


def write(root: Path, studies: Sequence[DrawnStudy]) -> None:
    """The edition of the National Library of Medicine: ecgen-radiology/ and NLMCXR_png/ in `root`."""
    for study in studies:
        _write_xml(root, study)
        for name, _, pixels in films(study):
            write_film(root / "NLMCXR_png" / f"{_nlm_name(study, name)}.png", to_grey(pixels))


def write_with_dicom(root: Path, studies: Sequence[DrawnStudy]) -> None:
    """The same edition with the DICOM files of NLMCXR_dcm/ in place of PNG."""
    for study in studies:
        _write_xml(root, study)
        for position, (name, projection, pixels) in enumerate(films(study)):
            film = replace(study, image_id=name, view=study.view if projection == "Frontal" else "LL")
            path = root / "NLMCXR_dcm" / str(study.index + 1) / f"{name}.dcm"
            write_dicom(path, pixels, film, inverted=(study.index + position) % 2 == 0)


def write_kaggle(root: Path, studies: Sequence[DrawnStudy]) -> None:
    """The edition of Kaggle: two tables and images/images_normalized/ in `root`; reports without films are left out."""
    reports, projections = [], []
    for study in studies:
        written = list(films(study))
        for name, projection, pixels in written:
            file_name = f"{name}.dcm.png"
            write_film(root / "images" / "images_normalized" / file_name, to_grey(pixels))
            projections.append((study.index + 1, file_name, projection))
        if written:
            terms = mesh(study)
            headings = dict.fromkeys(term.split("/")[0] for term in terms)
            said = sections(study)
            texts = [said[name] or None for name in ("indication", "comparison", "findings", "impression")]
            reports.append((study.index + 1, ";".join(terms), ";".join(headings), CAPTION, *texts))
    header = ("uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression")
    write_rows(root / "indiana_reports.csv", header, reports)
    write_rows(root / "indiana_projections.csv", ("uid", "filename", "projection"), projections)


def films(study: DrawnStudy) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, projection and pixels of each film: `1_IM-0001-4001`."""
    if study.index % NO_IMAGE_EVERY == NO_IMAGE_EVERY - 1:
        return
    yield f"{study.index + 1}_IM-{study.index * 7 % 9999 + 1:04d}-1001", "Frontal", study.pixels
    if study.lateral is not None:
        yield f"{study.index + 1}_IM-{study.index * 7 % 9999 + 1:04d}-2001", "Lateral", study.lateral


def mesh(study: DrawnStudy) -> list[str]:
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


def sections(study: DrawnStudy) -> dict[str, str]:
    """The four sections of the report, each on one line, empty where it has none."""
    parsed = parse_report(study.report, "sectioned", ReportOptions(required=()))
    return {name: " ".join((getattr(parsed, name) or "").split()) for name in SECTIONS}


def _nlm_name(study: DrawnStudy, name: str) -> str:
    """Some identifiers have the number of the report twice, others once."""
    return f"CXR{study.index + 1}_{name}" if study.index % 2 == 0 else f"CXR{name}"


def _write_xml(root: Path, study: DrawnStudy) -> None:
    parts = [
        f'            <AbstractText Label="{name.upper()}">{escape(text)}</AbstractText>'
        for name, text in sections(study).items()
    ]
    terms = [f"      <major>{escape(term)}</major>" for term in mesh(study)]
    terms += [f"      <automatic>{escape(MESH[name].lower())}</automatic>" for name in study.present()]
    opening = [f"   <parentImage id={quoteattr(_nlm_name(study, name))}>" for name, _, _ in films(study)]
    images = [f"{tag}\n      <caption>{CAPTION}</caption>\n   </parentImage>" for tag in opening]
    text = XML.format(
        number=study.index + 1, sections="\n".join(parts), terms="\n".join(terms), images="\n".join(images)
    )
    replace_text(root / "ecgen-radiology" / f"{study.index + 1}.xml", text)
