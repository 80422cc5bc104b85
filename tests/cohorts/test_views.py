"""The kinds of views, from the words of archives."""

from __future__ import annotations

import pytest

from cohorts.views import FRONTAL, LATERAL, UNKNOWN, kind_of_view

KNOWN = {
    FRONTAL: ("PA", "AP", "ap", " AP Supine", "AP Erect", "AP_horizontal", "FRONTAL", "p.a.", "postero-anterior"),
    LATERAL: ("LATERAL", "LL", "RL", "L", "lat", "XTABLE LATERAL", "LEFT LATERAL", "seitlich"),
    UNKNOWN: ("", "  ", "LAO", "RPO", "AP LLD", "PA RLD", "AP AXIAL", "LORDOTIC", "SWIMMERS", "OBLIQUE", "ORBITAL"),
}


@pytest.mark.parametrize(("kind", "view"), [(kind, view) for kind, views in KNOWN.items() for view in views])
def test_view_has_its_kind(kind: str, view: str) -> None:
    """Each word stands for one kind."""
    assert kind_of_view(view) == kind
