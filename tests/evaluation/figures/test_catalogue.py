"""Figures are kept as files, drawn again where these are damaged, and lost to nothing that happens to MLflow."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from evaluation.figures.catalogue import EMBEDDED, draw_figures
from evaluation.predictions import WEIGHTS
from tests.evaluation.damage import DAMAGES
from tests.evaluation.seer import RUN, predictions_of

NAME = "roc_curves"


def draw(cohort, tracker=None, anew=False):
    networks = {weights: predictions_of(cohort, weights) for weights in WEIGHTS}
    return draw_figures(networks, [NAME], tracker, anew)[NAME]


def test_a_damaged_figure_is_drawn_again(cohort, seer):
    first = draw(cohort)
    path = cohort.home_path() / RUN.output / "pictures" / "phantom" / f"{NAME}.png"
    assert path.read_bytes() == first
    for damage in DAMAGES.values():
        damage(path)
        assert draw(cohort) == first
        assert path.read_bytes() == first


def test_a_figure_that_is_whole_is_not_drawn_again(cohort, seer, monkeypatch):
    first = draw(cohort)
    monkeypatch.setattr("evaluation.figures.catalogue.DRAWINGS", {NAME: lambda *given: pytest.fail("drawn again")})
    assert draw(cohort) == first


def test_mlflow_that_takes_no_file_costs_no_figure(cohort, seer):
    tracker = MagicMock()
    tracker.log_file.side_effect = OSError("no space left")
    assert isinstance(draw(cohort, tracker), bytes)


def test_another_number_of_embedded_images_is_another_file(cohort, seer, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "evaluation.figures.embeddings.draw_embeddings", lambda *given, largest: drawn.append(largest) or b"png"
    )
    networks = {weights: predictions_of(cohort, weights) for weights in WEIGHTS}
    for embedded in (EMBEDDED, 7, 7):
        draw_figures(networks, ["embeddings"], anew=False, embedded=embedded)
    assert drawn == [EMBEDDED, 7]
    folder = cohort.home_path() / RUN.output / "pictures" / "phantom"
    assert {path.name for path in folder.glob("*.png")} == {"embeddings.png", "embeddings_7.png"}
