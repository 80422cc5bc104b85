"""Kinds of views of a chest radiograph, from the words that DICOM headers (ViewPosition) and archives use."""

from __future__ import annotations

import re
from collections.abc import Sequence

FRONTAL, LATERAL, UNKNOWN = "frontal", "lateral", "unknown"
KINDS = (FRONTAL, LATERAL, UNKNOWN)  # unknown: not said, or neither of the two, as oblique and decubitus
USUAL = (FRONTAL,)  # the views of the papers

_NEITHER = re.compile(r"OBLIQ|DECUB|LORDOTIC|AXIAL|SWIM|(?<![A-Z])(LLD|RLD|LAO|RAO|LPO|RPO)(?![A-Z])")
_FRONTAL = re.compile(r"(?<![A-Z])(AP|PA|FRONTAL|POSTERO-?ANTERIOR|ANTERO-?POSTERIOR)(?![A-Z])")
_LATERAL = re.compile(r"(?<![A-Z])(LATERAL|LAT|LL|RL|L|SEITLICH|PROFIL|PERFIL)(?![A-Z])")


def kind_of_view(view: str) -> str:
    """frontal, lateral or unknown, for a view such as `PA`, `AP SUPINE`, `p.a.`, `LATERAL` or `LL`."""
    words = view.upper().replace(".", "")  # p.a.
    if _NEITHER.search(words):
        return UNKNOWN
    if _FRONTAL.search(words):
        return FRONTAL
    return LATERAL if _LATERAL.search(words) else UNKNOWN


def kinds_of_views(views: Sequence[str]) -> list[str]:
    """The kind of each of the views of a dataset.

    Where none of them is said, as of datasets that hold frontal images alone, all are frontal.
    """
    kinds = {view: kind_of_view(view) for view in set(views)}
    return [FRONTAL] * len(views) if not any(views) else [kinds[view] for view in views]
