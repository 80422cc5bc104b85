"""View and side of a radiograph, from whatever a header says of them.

Codes are those of DICOM PS3.16, CID 4010 "DX View", in SNOMED CT and in the older SNOMED RT.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import MappingProxyType

from cohorts.views import FRONTAL, LATERAL, kind_of_view

NOTHING = frozenset(
    ["", "OTHER", "UNKNOWN", "UNDEFINED", "UNSPECIFIED", "NONE", "ANY", "DEFAULT", "N/A", "NA", "-", "--"]
)
CODES = MappingProxyType(
    {
        **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
        **dict.fromkeys(("399348003", "R-10206"), "AP"),
        **dict.fromkeys(("399173006", "R-10236"), "LL"),
        **dict.fromkeys(("399198007", "R-10232"), "RL"),
        **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
        **dict.fromkeys(("399033003", "R-10202"), "FRONTAL"),
    }
)
_WORDS = (  # view, how descriptions say it, in capitals and without points
    ("OBLIQUE", r"\w*OBLIQ\w*|SCHR(AE|Ä)G\w*|[LR](AO|PO)"),
    ("DECUBITUS", r"DECUB\w*|SEITENLAGE"),
    ("LORDOTIC", r"(APICO-?)?LORDOTIC|LORDOTISCH"),
    ("PA", r"P ?A|POSTERO-?ANTERIOR|DORSO-?VENTRAL"),
    ("AP", r"A ?P|ANTERO-?POSTERIOR|VENTRO-?DORSAL"),
    ("FRONTAL", r"FRONTAL|FRONTALE?|SUPINE|LIEGEND|BEDSIDE|PORTABLE|BETTAUFNAHME|DE FACE"),
    ("LL", r"LL|LEFT LAT(ERAL)?|LAT(ERAL)? LEFT"),
    ("RL", r"RL|RIGHT LAT(ERAL)?|LAT(ERAL)? RIGHT"),
    ("LATERAL", r"LATERAL|LATERALE|LAT|SEITLICH|SEITL|PROFILE?|PERFIL"),
)
WORDS = tuple((view, re.compile(rf"(?<![^\W_])({pattern})(?![^\W_])")) for view, pattern in _WORDS)
SIDES = MappingProxyType({"LL": "L", "RL": "R", "L": "L", "R": "R"})
MOST_LETTERS = 16  # of a coded string
UNSPELT = re.compile(r"[^A-Z0-9 _/-]")


def choose_view(position: str, codes: Sequence[str], texts: Sequence[str], orientation: Sequence[str]) -> str:
    """The view that the attributes give, the first of them that says one: ViewPosition, codes and meanings of
    ViewCodeSequence, descriptions, PatientOrientation. Empty where none does."""
    position = UNSPELT.sub("", position.upper())[:MOST_LETTERS].strip()
    if position not in NOTHING:
        return position
    coded = next((CODES[code] for code in codes if code in CODES), "")
    told = (view for text in (*codes, *texts) if (view := view_in_words(text)))
    return coded or next(told, "") or _view_of_orientation(orientation)


def view_in_words(text: str) -> str:
    """The view that a description names, such as `Chest PA` or `W Thorax seitlich`; empty where it names none, or a
    frontal and a lateral one."""
    words = text.upper().replace(".", "")
    named = [view for view, pattern in WORDS if pattern.search(words)]
    kinds = {kind_of_view(view) for view in named}
    if not named or kinds == {FRONTAL, LATERAL}:
        return ""
    return FRONTAL.upper() if kinds == {FRONTAL} and {"PA", "AP"} <= set(named) else named[0]


def choose_side(view: str, *sides: str) -> str:
    """L or R of a lateral view, from the view or one of `sides` (ImageLaterality, Laterality); else empty."""
    if kind_of_view(view) != LATERAL:
        return ""
    return next((SIDES[side] for value in (view, *sides) if (side := value.strip().upper()) in SIDES), "")


def _view_of_orientation(orientation: Sequence[str]) -> str:
    r"""FRONTAL or LATERAL where rows run across or along the body and columns to the feet (`L\F`, `A\F`)."""
    if len(orientation) != 2 or not orientation[1].strip().upper().startswith("F"):
        return ""
    return {"L": FRONTAL, "R": FRONTAL, "A": LATERAL, "P": LATERAL}.get(orientation[0].strip().upper()[:1], "").upper()
