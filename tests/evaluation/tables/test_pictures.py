"""Figures of methods against methods are files beside the page, and are shown on it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cohorts.errors import CohortError
from evaluation.figures.methods import MethodFigure
from evaluation.figures.radar import draw_radar
from evaluation.tables import build
from evaluation.tables.build import FigureOptions, write_tables
from tests.evaluation.tables.home_of_results import PLACES, fill

TITLE = "AUROC <of> each"


@pytest.fixture
def filled(workspace):
    fill(workspace, ["convirt", "mgca"], PLACES[:1])
    return workspace


def write(workspace, log=print, **options):
    return write_tables(workspace, "", log, options=FigureOptions(**options))


def test_figures_are_written_and_shown(filled, monkeypatch):
    png = draw_radar(list("abc"), {"mgca": np.array([0.5, 0.6, 0.7]).tolist()})
    asked = []

    def draw(pretraining, cohort, rows, log, embedded):
        asked.append((pretraining.cohort_name(), cohort, embedded, {row["method"] for row in rows}))
        return [MethodFigure("radar", TITLE, png)]

    monkeypatch.setattr(build, "draw_method_figures", draw)
    written = write(filled, cohort="chexpert", embedded=9)
    assert written.document.named_pictures == {f"{name}: {TITLE}": png for name in ("mimic_cxr", "phantom")}
    page = written.page
    names = {"convirt", "mgca", "untrained:convirt", "untrained:mgca"}
    assert sorted(asked) == [(cohort, "chexpert", 9, names) for cohort in ("mimic_cxr", "phantom")]
    text = page.read_text()
    paths = re.findall(r'<a href="(figures/[^"]*)"><img src="data:image/(?:png|jpeg);base64,', text)
    assert sorted(paths) == [f"figures/{cohort}/chexpert/radar.png" for cohort in ("mimic_cxr", "phantom")]
    assert all((page.parent / path).read_bytes() == png for path in paths)
    assert "img-src data:;" in text
    assert "AUROC &lt;of&gt; each" in text
    assert TITLE not in text


def test_what_cannot_be_drawn_is_said_and_costs_no_table(filled):
    said = []
    page = write(filled, said.append).page
    assert "<figure>" not in page.read_text()
    assert sum(line.startswith("No figures of methods against methods:") for line in said) == 2


def test_a_dataset_that_cannot_be_ends_the_tables_with_a_sentence(filled):
    with pytest.raises(CohortError, match="There is no dataset 'chexprt'"):
        write(filled, cohort="chexprt")
