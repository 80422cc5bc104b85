"""The attributes of a DICOM header that are kept: an allow-list. Of all others only the keyword is noted.

The list holds numbers and coded strings that describe how the image was taken and stored. No text, name, date,
identifier or private attribute is on it, and a coded string that is not spelt like one (PS3.5 6.2) is dropped too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

KEPT = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "Laterality",
    "ImageLaterality",
    "PresentationIntentType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelAspectRatio",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "BurnedInAnnotation",
    "KVP",
    "Exposure",
    "ExposureTime",
    "XRayTubeCurrent",
    "DistanceSourceToDetector",
    "Grid",
    "FilterType",
)
# Value representations that can hold a name, a text, a date, an address or an identifier.
IDENTIFYING = frozenset(
    ["AE", "AS", "DA", "DT", "LO", "LT", "OB", "PN", "SH", "ST", "TM", "UC", "UI", "UN", "UR", "UT"]
)
NO_PATIENT = {"PixelData", "SOPClassUID", "TransferSyntaxUID"}  # of these representations, the same for all patients
PRIVATE = "PrivateAttribute"
UNKNOWN = "UnknownAttribute"
DEEPEST = 8  # sequences in sequences; a radiograph has two or three
CODED_STRING = re.compile(r"[A-Z0-9 _]{1,16}")

Part = str | float
Kept = Part | list[Part]


@dataclass(frozen=True)
class ImageHeader:
    """The kept attributes by keyword, the keywords of identifying ones that were there, and whether the image says
    that annotation is burned into its pixels (None: it does not say)."""

    kept: dict[str, Kept] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    burned_in: bool | None = None


def attributes(dataset: Dataset) -> ImageHeader:
    """Divide a header; a damaged attribute is dropped, and nothing raises."""
    kept = {keyword: value for keyword in KEPT if (value := _safe_value(dataset, keyword)) is not None}
    dropped: set[str] = set()
    _collect_dropped(dataset, dropped, DEEPEST)
    burned_in = {"YES": True, "NO": False}.get(str(kept.get("BurnedInAnnotation")))
    return ImageHeader(kept, frozenset(dropped), burned_in)


def _safe_value(dataset: Dataset, keyword: str) -> Kept | None:
    """One number or coded string, or several; None where the attribute is absent, empty or holds anything else."""
    try:
        value: Any = dataset.get(keyword)
        several = not isinstance(value, str) and hasattr(value, "__iter__")
        values = list(value) if several else [value]
        parts = [part for part in map(_safe_part, values) if part is not None]
    except Exception:  # pydicom raises whatever the damage leads it to
        return None
    if not parts or len(parts) < len(values):
        return None
    return parts if several else parts[0]


def _safe_part(part: Any) -> Part | None:
    if isinstance(part, str) and not hasattr(part, "original_string"):  # unlike a decimal string
        return part.strip() if CODED_STRING.fullmatch(part.strip()) else None
    if part is None or part == "":
        return None
    return int(part) if isinstance(part, int) else float(part) if isfinite(part) else None


def _collect_dropped(dataset: Dataset, dropped: set[str], depth: int) -> None:
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the dataset itself would decode every value
        element = dataset.get_item(tag)
        name = _identifying_name(tag, element)
        if name:
            dropped.add(name)
        elif depth and _representation(tag, element) == "SQ":
            for item in _items(dataset, tag):
                _collect_dropped(item, dropped, depth - 1)


def _identifying_name(tag: BaseTag, element: RawDataElement | DataElement | None) -> str | None:
    """Keyword of an attribute that has a value, can identify someone and is not kept."""
    if element is None or not element.value:
        return None
    if tag.is_private:
        return PRIVATE
    keyword = keyword_for_tag(tag)
    if not keyword:
        return UNKNOWN
    identifies = _representation(tag, element) in IDENTIFYING and keyword not in NO_PATIENT and keyword not in KEPT
    return keyword if identifies else None


def _representation(tag: BaseTag, element: RawDataElement | DataElement | None) -> str:
    """The dictionary's, which a lying header cannot change; else what the header says."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return str(getattr(element, "VR", "") or "UN")


def _items(dataset: Dataset, tag: BaseTag) -> list[Dataset]:
    try:
        value = dataset[tag].value
        return [item for item in value if isinstance(item, Dataset)]
    except Exception:  # a damaged sequence holds nothing that could be kept
        return []
