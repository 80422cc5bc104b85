"""The kinds of views, from the words of archives and of DICOM headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.dicom.views import FRONTAL, KINDS, LATERAL, UNKNOWN, kind_of_view, kinds_of_views

KNOWN = {
    FRONTAL: ("PA", "AP", "ap", " AP Supine", "AP Erect", "AP_horizontal", "FRONTAL", "p.a.", "postero-anterior"),
    LATERAL: ("LATERAL", "LL", "RL", "L", "lat", "XTABLE LATERAL", "LEFT LATERAL", "seitlich"),
    UNKNOWN: ("", "  ", "LAO", "RPO", "AP LLD", "PA RLD", "AP AXIAL", "LORDOTIC", "SWIMMERS", "OBLIQUE", "ORBITAL"),
}
PAIRS = [(kind, view) for kind, views in KNOWN.items() for view in views]
WORDS = st.sampled_from([view for _, view in PAIRS])
NEITHER = st.sampled_from(["oblique", "Decubitus", "LAO", "lordotic", "AXIAL", "swimmers"])


@pytest.mark.parametrize(("kind", "view"), PAIRS)
def test_view_has_its_kind(kind: str, view: str) -> None:
    """Each word stands for one kind."""
    assert kind_of_view(view) == kind


@given(st.text(max_size=40))
def test_any_text_has_one_kind(view: str) -> None:
    assert kind_of_view(view) in KINDS


@given(WORDS, st.sampled_from([str.upper, str.lower, str.title]), st.text(" _", max_size=3), st.text(" _.", max_size=3))
def test_case_and_signs_around_a_view_do_not_count(view, change, before, after) -> None:
    assert kind_of_view(before + change(view) + after) == kind_of_view(view)


@given(WORDS, NEITHER, st.booleans())
def test_a_word_for_neither_view_outweighs_the_others(view, neither, first) -> None:
    assert kind_of_view(f"{neither} {view}" if first else f"{view} {neither}") == UNKNOWN


@given(st.text("BCDEFGHIJKMNOQSTUVWXYZ", min_size=1, max_size=8), st.sampled_from(["AP", "PA", "LL", "L"]))
def test_letters_within_a_word_are_no_view(word: str, letters: str) -> None:
    """GAP is not AP."""
    assert kind_of_view(f"{word}{letters}{word}") == UNKNOWN


@given(st.lists(WORDS, max_size=12))
def test_views_of_a_dataset_are_those_of_its_images(views: list[str]) -> None:
    if any(views):
        assert kinds_of_views(views) == [kind_of_view(view) for view in views]


@given(st.integers(0, 5))
def test_a_dataset_that_says_no_view_has_frontal_images(images: int) -> None:
    assert kinds_of_views([""] * images) == [FRONTAL] * images
