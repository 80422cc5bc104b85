"""Figures of methods against methods: which networks they show, and what is said where there are too few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cohorts.errors import CohortError
from evaluation.figures import methods
from evaluation.figures.methods import draw_method_figures
from evaluation.metrics.values import MACRO, ZERO_SHOT
from tests.evaluation.pictures import picture
from tests.evaluation.seer import LABELS, RUN
from tests.models.tiny import tiny_method
from tracking.runs import remember

COMMON = {
    "cohort": "phantom",
    "source": "measured",
    "setting": ZERO_SHOT,
    "repeat": 0,
    "task": methods.TASK,
    "note": "",
}


def row(method, value, name=MACRO, seed=0):
    return {**COMMON, "method": method, "metric": "auroc", "class": name, "value": value, "seed": seed}


def rows_of(method, *values):
    """A number per label, and their mean."""
    return [
        row(method, np.mean(values)),
        *(row(method, value, label) for label, value in zip(LABELS, values, strict=True)),
    ]


def remember_runs(workspace, *names, seeds=(0,)):
    """Runs of several methods, all with the weights of one."""
    for name in names:
        method, _, variant = name.partition(":")
        for seed in seeds:
            remember(workspace, replace(RUN, method=method, variant=variant, seed=seed))


@pytest.fixture
def drawn(cohort, seer, monkeypatch):
    """What each figure was drawn with, in place of pictures."""
    found = {}
    for name in ("draw_radar", "draw_roc_panels", "draw_differences", "draw_embeddings_of_networks"):
        monkeypatch.setattr(
            methods, name, lambda *given, name=name, **more: found.update({name: (given, more)}) or b"png"
        )
    return found


def draw(workspace, rows=(), cohort="", **more):
    said = []
    figures = draw_method_figures(workspace, cohort, rows, said.append, **more)
    return {figure.name: figure for figure in figures}, " ".join(said)


def test_the_radar_has_the_mean_over_seeds_of_every_scored_method(cohort, drawn):
    remember_runs(cohort, "mgca", "convirt", "mgca:ITA")
    rows = [*rows_of("mgca", 0.6, 0.7, 0.8), *rows_of("convirt", 0.5, 0.5, 0.5), *rows_of("untrained:mgca", 0, 0, 0)]
    rows += [row("mgca", 0.8, LABELS[0], seed=1), row("convirt", None, LABELS[1], seed=1)]
    figures, _ = draw(cohort, rows)
    (classes, values, _), _ = drawn["draw_radar"]
    assert list(values) == ["convirt", "mgca"]
    assert values["mgca"][classes.index(LABELS[0])] == pytest.approx(0.7)
    assert values["convirt"][classes.index(LABELS[1])] == 0.5
    assert figures["radar"].title == "AUROC of each class by method, on phantom"


def test_curves_are_of_the_stored_scores_of_the_test_split(cohort, drawn):
    remember_runs(cohort, "mgca", "convirt", seeds=(1, 0))
    draw(cohort, [*rows_of("mgca", 1, 1, 1), *rows_of("convirt", 1, 1, 1)])
    (scores, labels, classes, _), _ = drawn["draw_roc_panels"]
    assert list(scores) == ["convirt", "mgca"]
    assert scores["mgca"].shape == labels.shape == (60, len(classes))
    assert all(
        scores["mgca"][labels[:, c] == 1, c].min() > scores["mgca"][labels[:, c] == 0, c].max() for c in range(3)
    )


def test_bars_and_embeddings_are_of_the_named_methods_or_a_sentence_says_what_is_missing(cohort, drawn):
    remember_runs(cohort, "lrclr", "convirt")
    figures, said = draw(cohort)
    assert figures == {}
    assert "chexzero has no finished run" in said
    assert "imagenet has no finished run" in said
    assert "fewer than two networks have results" in said
    remember_runs(cohort, "chexzero", "imagenet:resnet50")
    figures, said = draw(cohort, embedded=7)
    assert set(figures) == {"lrclr_minus_chexzero", "embeddings"}
    (differences, names, _), _ = drawn["draw_differences"]
    assert names == ("lrclr", "chexzero")
    assert [(one.name, one.compared.difference) for one in differences] == [(label, 0.0) for label in sorted(LABELS)]
    (vectors, labels, _, _), more = drawn["draw_embeddings_of_networks"]
    assert list(vectors) == ["imagenet:resnet50", "convirt"]
    assert {len(found) for found in vectors.values()} == {len(labels)} == {60}
    assert more == {"largest": 7}


def test_a_figure_names_the_variant_that_it_shows(cohort, drawn):
    remember_runs(cohort, "lrclr:lambda_0.1", "lrclr:vit_small", "chexzero:released")
    draw(cohort)
    (_, names, _), _ = drawn["draw_differences"]
    assert names == ("lrclr:lambda_0.1", "chexzero:released")


def test_the_radar_has_no_number_of_other_data_than_the_dataset_has_now(cohort, drawn):
    remember_runs(cohort, "mgca", "convirt", "medklip")
    rows = [*rows_of("mgca", 0.6, 0.7, 0.8), *rows_of("convirt", 0.5, 0.5, 0.5)]
    outdated = [{**one, "note": "outdated: measured on other data."} for one in rows_of("medklip", 1, 1, 1)]
    draw(cohort, [*rows, *outdated])
    (_, values, _), _ = drawn["draw_radar"]
    assert list(values) == ["convirt", "mgca"]
    _, said = draw(cohort, [*rows_of("mgca", 0.6, 0.7, 0.8), *outdated])
    assert "fewer than two networks have results of zero-shot classification on the present data" in said


def test_regions_of_both_methods_are_of_the_same_images(cohort, monkeypatch):
    networks = {name: tiny_method(name) for name in ("lrclr", "chexzero")}
    remember_runs(cohort, *networks)
    monkeypatch.setattr(methods.Predictions, "method", property(lambda self: networks[self.run.method]))
    figures, _ = draw(cohort)
    assert picture(figures["selected_regions"].png).shape == (610, 780, 3)


def test_what_goes_wrong_costs_the_figure_alone(cohort, drawn, monkeypatch):
    remember_runs(cohort, "mgca", "convirt")
    monkeypatch.setattr(methods, "draw_roc_panels", lambda *given: 1 / 0)
    figures, said = draw(cohort, [*rows_of("mgca", 1, 1, 1), *rows_of("convirt", 1, 1, 1)])
    assert set(figures) == {"radar"}
    assert "ROC curves by method: ZeroDivisionError in our code." in said


def test_a_dataset_that_is_not_there_is_a_sentence_and_one_that_cannot_be_is_an_error(workspace, cohort):
    figures, said = draw(workspace, cohort="chexpert")
    assert figures == {}
    assert "chexpert has no archive; set RADALIGN_CHEXPERT_ROOT." in said
    with pytest.raises(CohortError, match="There is no dataset 'chexprt'"):
        draw(workspace, cohort="chexprt")
