"""Open-i: the Indiana University collection, 7,470 chest radiographs of 3,955 reports with MeSH codes by hand.

Demner-Fushman et al., "Preparing a collection of radiology examinations for distribution and retrieval", JAMIA 23
(2016). CC BY-NC-ND 4.0: no commercial use, and no adapted version of a report may be shared. Two editions:

    NLM      <any folder>/<n>.xml (ecgen-radiology/): uId, AbstractText by Label, MeSH/major, parentImage
             <any folder>/CXR1_1_IM-0001-3001.png (NLMCXR_png) or 1_IM-0001-3001.dcm (NLMCXR_dcm)
    Kaggle   indiana_reports.csv: uid, MeSH, Problems, image, indication, comparison, findings, impression
             indiana_projections.csv: uid, filename, projection (Frontal, Lateral)
             <any folder>/1_IM-0001-4001.dcm.png

Image, study and patient identifiers are the same in both, so are the splits. Where the two tables are, they are read.
The XML says of no image whether it is frontal, so without indiana_projections.csv beside it every image of a report is
taken for a frontal one, with an empty view. Source rows are the images that reports or tables name, and the reports
that name none.

A report is the text of its four sections under their names. Labels are the MeSH terms as coded, such as
`Opacity/lung/base/left`, each 1; only what is present was coded. `No Indexing` means that a report was not coded and
has no labels. No split is published: reports, each of another patient, are divided 70/10/20 or 80/10/10.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from cohorts import dataset
from cohorts.archive import csv_files
from cohorts.archive.listed import explain_loss
from cohorts.archive.marks import Mark
from cohorts.archive.report_files import read_text
from cohorts.base import Reader, Scan, split_scan
from cohorts.dataset import Dataset
from cohorts.labels import LABELS
from cohorts.rows import PLAIN_NAMES, files_below, first_reasons, look_for_files, number_duplicates
from cohorts.splits import split_by_patient
from cohorts.views import FRONTAL, NOT_CHOSEN, UNKNOWN, are_not_chosen
from report_parsing.errors import ReportError

if TYPE_CHECKING:
    import pandas as pd

SECTIONS = ("INDICATION", "COMPARISON", "FINDINGS", "IMPRESSION")
REPORTS, PROJECTIONS = "indiana_reports.csv", "indiana_projections.csv"
SUFFIXES = (".png", ".dcm")  # where an archive has both as many, the one that decodes faster
VIEWS = {"frontal": "FRONTAL", "lateral": "LATERAL"}
NOT_CODED = "No Indexing"
ENDINGS = (".dcm", ".png", ".jpg")  # of one length; a name may have several
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")  # a report has neither, and entities can unfold to gigabytes
DETAILS = {
    "unreadable_report": "The report file is no XML of the collection, or cannot be read.",
    "path_outside_root": "The file name of the row is empty or could name a path elsewhere.",
    "no_image": "The report names no image.",
    "duplicate_id": "An earlier report or row names the same image.",
    "missing_report": "indiana_reports.csv has no row for the report of this image.",
    "missing_file": "The report or row names this image, but no folder has it.",
}
DATASET = Dataset(
    name="open_i",
    purposes=(dataset.ZERO_SHOT, dataset.CATEGORIES, dataset.REPORTS),
    blank=0.0,  # only what is present was coded
)


class OpenI(Reader):
    """Reads the edition of the National Library of Medicine and the two-table edition of Kaggle."""

    name = DATASET.name
    splits = ("70/10/20", "80/10/10")
    signature = (
        (Mark((REPORTS,), ("uid", "MeSH", "findings", "impression")), Mark((PROJECTIONS,), ("uid", "filename"))),
        (Mark(("*.xml", "*/*.xml", "*/*/*.xml"), line=r"<uId id=\"CXR\d+\""),),
    )
    how_to_get = (
        "set it to the unpacked downloads of openi.nlm.nih.gov/faq (NLMCXR_reports and NLMCXR_png) or of "
        "kaggle.com/datasets/raddar/chest-xrays-indiana-university (indiana_reports.csv, indiana_projections.csv)."
    )

    def scan(self) -> Scan:
        """List every image that a report names as a study or a reject, reports in the order of their numbers."""
        rows = self._table_rows() if self._has_tables else self._xml_rows()
        paths = self._image_paths(rows["image"])
        rows["image_path"] = rows["image"].map(lambda image: paths.get(image, image))
        rows["split"] = split_by_patient(self.name, self.split, rows["subject_id"])
        rows["reason"] = self._reasons(rows, paths.keys())
        rows["image_id"] = number_duplicates(rows["image"].where(rows["image"] != "", rows["study_id"]))
        labels = pa.array([mesh_labels(terms) for terms in rows["terms"]], LABELS)
        return split_scan(rows.assign(cohort=self.name), DETAILS, {"labels": labels})

    def read_report(self, study: Mapping[str, Any]) -> str:
        """The four sections of the report under their names."""
        if self._has_tables:
            return self._reports.loc[study["study_id"], "text"]
        return parse_xml(read_text(self.root, study["report_path"]))["text"]

    @cached_property
    def _has_tables(self) -> bool:
        return all(csv_files.find([self.root], name) for name in (REPORTS, PROJECTIONS))

    @cached_property
    def _reports(self) -> pd.DataFrame:
        """The reports of the Kaggle edition by study_id, with text and MeSH terms."""
        import pandas as pd

        columns = ["uid", "MeSH", *map(str.lower, SECTIONS)]
        table = csv_files.need(self, REPORTS, columns).drop_duplicates("uid")
        texts = [report_text(dict(zip(SECTIONS, values, strict=True))) for values in table[columns[2:]].to_numpy()]
        terms = table["MeSH"].str.split(";")
        return pd.DataFrame({"text": texts, "terms": terms.to_numpy()}, index="CXR" + table["uid"].str.strip())

    def _table_rows(self) -> pd.DataFrame:
        """The rows of the projections, then the reports that none of them names."""
        import pandas as pd

        table = csv_files.need(self, PROJECTIONS, ["uid", "filename", "projection"])
        study_ids = "CXR" + table["uid"].str.strip()
        images = pd.DataFrame(
            {
                "image": table["filename"].str.strip().map(plain_name),
                "study_id": study_ids,
                "view": _views(table["projection"]),
                "problem": np.where(study_ids.isin(self._reports.index), "", "missing_report"),
            }
        )
        without = self._reports.index[~self._reports.index.isin(study_ids)]
        rows = pd.concat(
            [images, pd.DataFrame({"image": "", "study_id": without, "view": "", "problem": "no_image"}, dtype=str)],
            ignore_index=True,
        )
        rows["terms"] = self._reports["terms"].reindex(rows["study_id"]).to_numpy()
        report_path = csv_files.find([self.root], REPORTS)
        assert report_path is not None  # _reports has read it
        return rows.assign(subject_id=rows["study_id"], report_path=report_path.name)

    def _xml_rows(self) -> pd.DataFrame:
        """The images that the XML files name, and a row for each file that names none or cannot be read."""
        import pandas as pd

        files = files_below(self.root, ["."], [".xml"])
        if not files:
            raise self.missing(f"{REPORTS} with {PROJECTIONS}, and no XML report,")
        records: list[dict[str, Any]] = []
        for path in sorted(files, key=_number):
            stem = PurePosixPath(path).stem
            record = {"image": "", "study_id": stem, "view": "", "problem": "", "terms": None, "report_path": path}
            try:
                report = parse_xml(read_text(self.root, path))
            except ReportError as error:
                if isinstance(error.__cause__, FileNotFoundError):  # it was there when the folder was listed
                    raise explain_loss(self.root, path) from error
                records.append({**record, "problem": "unreadable_report"})
                continue
            record |= {"study_id": report["uid"] or stem, "terms": report["terms"]}
            images = [{**record, "image": plain_name(name)} for name in report["images"]]
            records += images or [{**record, "problem": "no_image"}]
        rows = pd.DataFrame(records)
        return rows.assign(subject_id=rows["study_id"], view=self._projections(rows["image"]))

    def _projections(self, images: pd.Series) -> pd.Series:
        import pandas as pd

        path = csv_files.find([self.root], PROJECTIONS)
        if path is None:
            return pd.Series("", images.index)
        table = csv_files.read(path, ["filename", "projection"])
        views = dict(zip(table["filename"].str.strip().map(plain_name), _views(table["projection"]), strict=True))
        return images.map(views).fillna("")

    def _image_paths(self, images: pd.Series) -> dict[str, str]:
        """Relative path of each image that is there; all one kind of file, so that no cohort mixes two renderings."""
        found = [
            {plain_name(PurePosixPath(path).name): path for path in files_below(self.root, ["."], [suffix])}
            for suffix in SUFFIXES
        ]
        return max(found, key=lambda paths: images.isin(paths.keys()).sum())

    def _reasons(self, rows: pd.DataFrame, present: Iterable[str]) -> np.ndarray:
        conditions: dict[str, pd.Series | np.ndarray] = {
            **{problem: rows["problem"] == problem for problem in ("unreadable_report", "no_image")},
            "path_outside_root": ~rows["image"].str.fullmatch(PLAIN_NAMES),
            "duplicate_id": rows["image"].duplicated(),
            NOT_CHOSEN: self._are_not_chosen(rows["view"]),
            "missing_report": rows["problem"] == "missing_report",
            "missing_file": ~rows["image"].isin(list(present)),
        }
        reasons = first_reasons(conditions, len(rows))
        look_for_files(self.root, rows["image_path"], reasons)
        return reasons

    def _are_not_chosen(self, views: pd.Series) -> np.ndarray:
        """Without a table of projections no image has a view, and all are taken for frontal ones."""
        told = (views != "").any()
        return are_not_chosen(views, self.views if told or FRONTAL not in self.views else (*self.views, UNKNOWN))


def parse_xml(text: str) -> dict[str, Any]:
    """uid, images, MeSH terms and text of a report of the NLM edition; ReportError when it is none."""
    if any(word in text for word in FORBIDDEN):
        raise ReportError("unreadable_report", "The report is XML with declarations of its own, as none of them is.")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise ReportError("unreadable_report", "The report is no well-formed XML.") from error
    uid = root.find("uId")
    sections = {part.get("Label", ""): part.text or "" for part in root.iter("AbstractText")}
    return {
        "uid": "" if uid is None else uid.get("id", "").strip(),
        "images": [name for image in root.iter("parentImage") if (name := image.get("id", "").strip())],
        "terms": [term.text or "" for term in root.iterfind("MeSH/major")],
        "text": report_text(sections),
    }


def report_text(sections: Mapping[str, str]) -> str:
    """The sections that have words, each under its name."""
    given = {name: sections.get(name, "").strip() for name in SECTIONS}
    return "\n\n".join(f"{name}: {text}" for name, text in given.items() if text)


def mesh_labels(terms: Sequence[str] | float | None) -> list[tuple[str, float]] | None:
    """Coded terms as labels, blanks put right; None for a report that nobody coded."""
    if not isinstance(terms, list):
        return None
    names = dict.fromkeys(" ".join(term.split()) for term in terms)
    names.pop("", None)
    return None if not names or NOT_CODED in names else [(name, 1.0) for name in names]


def plain_name(name: str) -> str:
    """The name that all editions share: 1_IM-0001-3001 of CXR1_1_IM-0001-3001.png and of 1_IM-0001-3001.dcm.png."""
    end = len(name)
    while name.endswith(ENDINGS, 0, end):
        end -= len(ENDINGS[0])
    return re.sub(r"^CXR(\d+_(?=\d+_IM))?(?=\d)", "", name[:end])


def _views(projections: pd.Series) -> pd.Series:
    return projections.str.strip().str.lower().map(VIEWS).fillna("")


def _number(path: str) -> tuple[int, str]:
    stem = PurePosixPath(path).stem
    return (int(stem) if stem.isdecimal() else -1, path)
