"""Findings asked for by their descriptions: what the network reads, and the name of the result."""

from __future__ import annotations

import pytest

from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.tasks.base import DESCRIPTION, NAME, Setting
from evaluation.tasks.registry import repeated_settings
from models.method import ZeroShot
from report_parsing.knowledge.base import KnowledgeBase
from tests.evaluation.seer import predictions_of
from tests.evaluation.small_method import small_method


@pytest.fixture
def asked(cohort, monkeypatch) -> list[list[str]]:
    """What a network of names is asked, call by call."""
    method, found = small_method(), []

    def zero_shot(images, queries):
        found.append(list(queries))
        return ZeroShot(images.float().mean((1, 2, 3))[:, None].expand(-1, len(queries)) / 255, images[:, :, ::8, ::8])

    monkeypatch.setattr(method, "zero_shot", zero_shot)
    monkeypatch.setattr("evaluation.predictions.Predictions.method", method)
    return found


def test_a_description_stands_in_the_place_of_the_name(cohort, asked):
    predictions = predictions_of(cohort)
    names = list(predictions.dataset.queries.values())
    predictions.zero_shot("test", NAME)
    predictions.zero_shot("test", DESCRIPTION)
    knowledge = KnowledgeBase.default()
    described = [knowledge.describe(knowledge.lookup(name).name) for name in names]
    assert [asked[0], asked[-1]] == [names, described]
    assert not set(names) & set(described)


def test_a_method_of_descriptions_is_not_asked_again(cohort, asked, monkeypatch):
    monkeypatch.setattr(type(predictions_of(cohort).method), "query_kind", "entity", raising=False)
    with pytest.raises(NotAvailableError, match="by their descriptions anyway"):
        predictions_of(cohort).zero_shot("test", DESCRIPTION)


def test_the_setting_has_a_name_of_its_own_in_the_one_task_that_asks():
    settings = dict(repeated_settings(["zero_shot_classification", "zero_shot_grounding"], [], 1, ask=DESCRIPTION))
    assert settings["zero_shot_classification"].name == "zero-shot, by description"
    assert settings["zero_shot_grounding"] == Setting()
    with pytest.raises(EvaluationError, match="by name or description"):
        repeated_settings(["zero_shot_classification"], [], 1, ask="picture")
