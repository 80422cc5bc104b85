"""What a header says of an image: identifiers, date, view, patient, device, and whether it is a chest radiograph.

Names, birth dates and descriptions are read and not kept: an age, a view and a body part come of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import isnan, nan
from typing import Any

from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from cohorts.archive.facts import OLDEST
from cohorts.archive.names import on_one_line
from cohorts.described.dicom.body_parts import CHEST, ELSEWHERE, NOT_SAID, judge_body_part
from cohorts.described.dicom.header import class_of
from cohorts.described.dicom.views import choose_side, choose_view
from cohorts.described.words import read_age
from imaging.dicom.numbers import read_whole

CR = "1.2.840.10008.5.1.4.1.1.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
DIRECTORY = "1.2.840.10008.1.3.10"
# Structured reports that people write; those of doses, detections and key images are others.
WRITTEN_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (11, 22, 33, 34))
RADIOGRAPHY = ("CR", "DX")
MAY_BE_RADIOGRAPHY = ("", "RG", "OT", "XC", "HC", "SC")  # if the header calls the image a chest
LOCALIZERS = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
_LOCALIZER = re.compile(r"(?<!\w)(SCOUT|LOCALI[SZ]ER|TOPOGRAMM?|SURVIEW)(?!\w)")
_SCREEN = re.compile(
    r"SCREEN ?(SHOT|SAVE|CAPTURE)|(?<!\w)(REPORT|BEFUND|INFORME|SUMMARY|WORKLIST|PATIENT PROTOCOL)(?!\w)"
)
FIRST_YEAR = 1850  # of a birth date or a study; what is older stands for no date
MOST_LETTERS = 64  # of a text that is kept, as DICOM has it
FULL_COLOUR = 3  # samples of a pixel


@dataclass(frozen=True)
class Facts:
    """What is kept of a header; text is empty where nothing is said."""

    patient: str = ""  # PatientID
    study: str = ""  # StudyInstanceUID
    series: str = ""
    image: str = ""  # SOPInstanceUID
    accession: str = ""
    study_id: str = ""  # StudyID, as the hospital numbers it
    date: str = ""  # yyyy-mm-dd
    view: str = ""
    laterality: str = ""
    sex: str = ""
    age: str = ""  # years
    device: str = ""
    site: str = ""  # InstitutionName
    intent: str = ""  # FOR PRESENTATION, FOR PROCESSING
    reason: str = ""  # why it is no image to train on, by this header alone
    written: str = ""  # of a structured report: "1" if verified, else "0", and when it was written
    is_report: bool = False


def read_facts(dataset: FileDataset) -> Facts:
    """What a parsed header says; an attribute that cannot be read counts as absent."""
    texts = [_text(dataset, keyword) for keyword in ("SeriesDescription", "ProtocolName", _PROCESSING)]
    view = choose_view(
        _text(dataset, "ViewPosition"),
        list(_codes(dataset, "ViewCodeSequence")),
        texts,
        _texts(dataset, "PatientOrientation"),
    )
    studied = _first_date(dataset, "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
    uid = class_of(dataset)
    return Facts(
        patient=_text(dataset, "PatientID"),
        study=_text(dataset, "StudyInstanceUID"),
        series=_text(dataset, "SeriesInstanceUID"),
        image=_text(dataset, "SOPInstanceUID"),
        accession=_text(dataset, "AccessionNumber"),
        study_id=_text(dataset, "StudyID"),
        date=studied.isoformat() if studied else "",
        view=view,
        laterality=choose_side(view, _text(dataset, "ImageLaterality"), _text(dataset, "Laterality")),
        sex={"M": "M", "F": "F", "W": "F", "O": "O"}.get(_text(dataset, "PatientSex").upper()[:1], ""),
        age=_age(dataset, studied),
        device=_device(dataset),
        site=_text(dataset, "InstitutionName"),
        intent=_text(dataset, "PresentationIntentType").upper()
        or ("FOR PROCESSING" if uid == DX_FOR_PROCESSING else ""),
        reason=judge(dataset, uid, texts),
        written=_written(dataset) if uid in WRITTEN_REPORTS else "",
        is_report=uid in WRITTEN_REPORTS,
    )


def judge(dataset: Dataset, uid: str, texts: list[str]) -> str:
    """Why an object of the class `uid` is no chest radiograph, a reason of `rows.DETAILS`; empty where it is one."""
    if "Rows" not in dataset and "SamplesPerPixel" not in dataset:
        return "no_image"
    described = [*texts, *(_text(dataset, keyword) for keyword in _PROCEDURES)]
    kinds = {value.upper() for value in _texts(dataset, "ImageType")}
    part = judge_body_part([_text(dataset, "BodyPartExamined")], described)
    if part == NOT_SAID:
        part = judge_body_part((), _codes(dataset, "AnatomicRegionSequence"))
    if not _is_radiography(_text(dataset, "Modality").upper(), uid, part):
        return "other_modality"
    if kinds & LOCALIZERS or _LOCALIZER.search(" ".join(described).upper()):
        return "localizer"
    if uid.startswith(SECONDARY_CAPTURE) and _is_screenshot(dataset, described):
        return "screenshot"
    if (read_whole(dataset, "NumberOfFrames") or 1) > 1:
        return "several_frames"
    return "other_body_part" if part == ELSEWHERE else ""


_PROCESSING = "AcquisitionDeviceProcessingDescription"
_PROCEDURES = ("StudyDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription")


def _is_radiography(modality: str, uid: str, part: str) -> bool:
    return (
        modality in RADIOGRAPHY
        or (not modality and uid in (CR, DX, DX_FOR_PROCESSING))
        or (modality in MAY_BE_RADIOGRAPHY and part == CHEST)
    )


def _is_screenshot(dataset: Dataset, described: list[str]) -> bool:
    """Whether a secondary capture is a picture of a screen: it says so, or it is coloured, as no radiograph is."""
    return read_whole(dataset, "SamplesPerPixel") == FULL_COLOUR or bool(_SCREEN.search(" ".join(described).upper()))


def _device(dataset: Dataset) -> str:
    """Manufacturer and model; the name of the manufacturer once, where the model begins with it."""
    maker, model = _text(dataset, "Manufacturer"), _text(dataset, "ManufacturerModelName")
    named = model if model.upper().startswith(maker.upper()) else f"{maker} {model}"
    return named.strip()[:MOST_LETTERS]


def _age(dataset: Dataset, studied: date | None) -> str:
    """Years by PatientAge (`045Y`, `006M`), else from the birth date to the study."""
    told = _text(dataset, "PatientAge")
    years = nan if set(told) <= {"0", *"YMWD"} else read_age(told)  # 000Y stands where nobody knows the age
    if isnan(years) and studied and (born := _first_date(dataset, "PatientBirthDate")):
        years = (studied - born).days / 365.25
    return f"{years:.2f}" if 0 <= years <= OLDEST else ""


def _written(dataset: Dataset) -> str:
    """Text by whose order the report that counts is the last one: verified ones behind others, then by time."""
    moment = "".join(re.sub(r"\D", "", _text(dataset, keyword)) for keyword in ("ContentDate", "ContentTime"))
    return f"{int(_text(dataset, 'VerificationFlag').upper() == 'VERIFIED')}{moment}"


def _first_date(dataset: Dataset, *keywords: str) -> date | None:
    """The first of some dates that is one."""
    for keyword in keywords:
        digits = re.sub(r"[.\-/]", "", _text(dataset, keyword))[:8]
        try:
            found = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
        except ValueError:
            continue
        if found.year >= FIRST_YEAR:
            return found
    return None


def _codes(dataset: Dataset, keyword: str) -> Iterator[str]:
    """Values, then meanings of the codes of a sequence."""
    value = _value(dataset, keyword)
    found = list(value) if isinstance(value, Sequence) else []
    for part in ("CodeValue", "CodeMeaning"):
        yield from (text for item in found if (text := _text(item, part)))


def _text(dataset: Dataset, keyword: str) -> str:
    """An attribute as text of at most MOST_LETTERS on one line; the first of several values."""
    return next(iter(_texts(dataset, keyword)), "")


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    value = _value(dataset, keyword)
    values = value if isinstance(value, (list, MultiValue)) else [value]
    return [on_one_line(str(one).strip(" \0"))[:MOST_LETTERS].strip() for one in values if one not in (None, "")]


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom raises whatever the damage leads it to
        return None
