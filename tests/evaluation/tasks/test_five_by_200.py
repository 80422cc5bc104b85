"""5x200: the pairs have one of five classes alone, and any report of the same class is right."""

from __future__ import annotations

import numpy as np

from evaluation.metrics.same_class import PAIRS
from evaluation.tasks.registry import task
from tests.evaluation.seer import predictions_of

TASK = "image_report_retrieval"


def score(cohort, per_class):
    chosen = task(TASK)
    settings = chosen.read_settings({TASK: {"per_class": per_class}})
    values = chosen.score(predictions_of(cohort), next(chosen.repeated_settings([], 1)), settings)
    return {value.metric: value for value in values if value.class_name == PAIRS}


def test_the_seer_finds_reports_of_the_same_class(cohort, seer):
    assert score(cohort, 0) == {}
    values = score(cohort, 5)
    assert values["class_hit_at_1"].value == values["text_to_image_class_hit_at_1"].value == 1
    assert values["class_hit_at_1"].n == 10  # five of edema and of effusion; pneumothorax is none of the five
    assert values["class_precision_at_1"].value == 1
    assert values["class_precision_chance"].value == 0.5


def test_pairs_have_one_class_alone_and_a_report(cohort, seer, monkeypatch):
    found = {}

    def keep(similarities, categories, subjects):
        found["categories"], found["subjects"] = categories, subjects
        return []

    monkeypatch.setattr("evaluation.tasks.image_report_retrieval.score_same_class", keep)
    score(cohort, 200)
    dataset = predictions_of(cohort).dataset
    images = dataset.images("test")
    labels = dataset.label_values(images, ["Edema", "Pleural Effusion"]) == 1
    texts = dataset.reader.columns("test", ["text"])["text"].to_pylist()
    alone = (labels.sum(axis=1) == 1) & np.array([bool(text) for text in texts])
    assert len(found["categories"]) == alone.sum()
    assert np.bincount(found["categories"]).tolist() == labels[alone].sum(axis=0).tolist()
