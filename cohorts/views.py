"""Which images of an archive become studies, by the kinds of their views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imaging.dicom.views import FRONTAL, KINDS, LATERAL, UNKNOWN, USUAL, kind_of_view

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FRONTAL", "KINDS", "LATERAL", "NOT_CHOSEN", "UNKNOWN", "USUAL", "are_not_chosen", "kind_of_view"]

NOT_CHOSEN = "view_not_chosen"  # the reason of a reject


def are_not_chosen(views: pd.Series, chosen: Sequence[str]) -> np.ndarray:
    """For each view whether its kind is none of `chosen`."""
    import pandas as pd

    codes, distinct = pd.factorize(views.fillna(""))
    refused = np.array([kind_of_view(view) not in chosen for view in distinct], dtype=bool)
    return refused[codes] if len(codes) else np.empty(0, bool)
