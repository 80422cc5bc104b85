"""The downstream tasks: what each asks of a network, and how it scores the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.examination import Network
from assets.films import Films, entities_of
from evaluation.values import ZERO_SHOT, ResultValue

if TYPE_CHECKING:
    from evaluation.protocol import Protocol

NEVER, FROZEN, BOTH = "never", "frozen", "both"  # whether a task trains, and whether it also tunes the encoder


@dataclass(frozen=True)
class Setting:
    """How much a task may learn from labels."""

    fraction: float | None = None  # of the train patients; None: nothing is learnt
    tuned: bool = False  # whether the image encoder learns too
    draw: int = 0  # which patients, in which order, from which new layers

    @property
    def name(self) -> str:
        """As results call it."""
        if self.fraction is None:
            return ZERO_SHOT
        return f"{100 * self.fraction:g} %{', tuned' if self.tuned else ''}"


@dataclass(frozen=True)
class Task:
    """A task. A method that cannot do what it asks for raises NotAvailableError in `score`."""

    description: str
    # The numbers; none where the cohort has nothing to score on. The options are those of the task in the run config.
    score: Callable[[Network, Setting, dict[str, Any]], Sequence[ResultValue]]
    leading: str  # the metric that stands for it
    learns: str = NEVER
    code: tuple[str, ...] = ()  # files of evaluation/ that decide its numbers, beside those that every task has

    def settings(self, fractions: Sequence[float], draws: int) -> Iterator[Setting]:
        """All that it is measured with."""
        if self.learns == NEVER:
            yield Setting()
            return
        for draw in range(draws):
            for fraction in fractions:
                for tuned in (False, True) if self.learns == BOTH else (False,):
                    yield Setting(fraction, tuned, draw)


def settings_of(protocol: Protocol, fractions: Sequence[float], draws: int) -> list[tuple[str, Setting]]:
    """Every task of a cohort's protocol with every setting."""
    return [(name, setting) for name in protocol.tasks for setting in TASKS[name].settings(fractions, draws)]


def _zero_shot_classification(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.zero_shot_classification import best_thresholds, score, score_by_papers

    test = network.examine("test")
    if not network.classes or not len(test):
        return []
    validate = network.examine("validate")
    thresholds, by_mcc = (
        best_thresholds(validate.answers.scores, validate.truth.labels, criterion) for criterion in ("f1", "mcc")
    )
    asked = test.answers.scores, test.truth.labels, network.classes, test.truth.subjects
    return score(*asked, thresholds) + score_by_papers(*asked, by_mcc)


def _zero_shot_grounding(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.zero_shot_grounding import best_thresholds, score

    test = network.examine("test")
    if not network.classes or not len(test):
        return []
    validate = network.examine("validate")
    thresholds = best_thresholds(validate.answers.maps, validate.truth.masks)
    return score(test.answers.maps, test.truth.masks, network.classes, test.truth.subjects, thresholds)


def _text_image_retrieval(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.text_image_retrieval import categories_of, choose_candidates, read_queries, score

    cohort = network.cohort
    films, categories = cohort.films("test"), categories_of(entities_of(cohort.questions))
    candidates = choose_candidates(cohort.label_values(films, list(categories)))
    if not len(candidates.rows):
        return []
    chosen = films.select(candidates.rows)
    sentences = [read_queries()[entity] for entity in categories.values()]
    similarities = network.similarities(chosen, [sentence for group in sentences for sentence in group])
    query_categories = np.repeat(np.arange(len(sentences)), [len(group) for group in sentences])
    return score(similarities, candidates.categories, query_categories, list(categories), chosen.subjects)


def _linear_probe(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.linear_probe import Labelled, fit_and_score

    names, train, validate, test = _classified(network, setting)
    if not names or not len(train) or not len(test):
        return []

    def labelled(films: Films) -> Labelled:
        return Labelled(network.features(films), network.cohort.label_values(films, names), films.subjects)

    exclusive = network.cohort.protocol.exclusive and len(names) > 1
    return fit_and_score(labelled(train), labelled(validate), labelled(test), names, exclusive)


def _classified(network: Network, setting: Setting) -> tuple[list[str], Films, Films, Films]:
    """The labels that classifiers learn, and the films of train, validate and test that say anything about them."""
    from cohorts.labels import label_names

    cohort = network.cohort
    assert setting.fraction is not None
    train, validate, test = (
        cohort.fraction(setting.fraction, setting.draw),
        cohort.films("validate"),
        cohort.films("test"),
    )
    there = set(label_names(cohort.films("train").labels)) | set(label_names(test.labels))
    names = [name for name in cohort.protocol.labels if name in there] or sorted(there)
    train, validate, test = (_known(network, films, names) for films in (train, validate, test))
    return names, train, validate, test


def _known(network: Network, films: Films, names: Sequence[str]) -> Films:
    if not len(films) or not names:
        return films
    return films.select(~np.isnan(network.cohort.label_values(films, names)).all(axis=1))


TASKS = {
    "zero_shot_classification": Task(
        "Which findings are there, told from their names or descriptions.",
        _zero_shot_classification,
        "auroc",
        code=("zero_shot_classification.py",),
    ),
    "zero_shot_grounding": Task(
        "Where the findings are, told from the maps of their queries.",
        _zero_shot_grounding,
        "pointing_game",
        code=("zero_shot_grounding.py", "cells.py"),
    ),
    "text_image_retrieval": Task(
        "Which films a sentence finds: the share of the right ones among the first, as in ConVIRT.",
        _text_image_retrieval,
        "precision_at_5",
        code=("text_image_retrieval.py", "data/retrieval_queries.csv"),
    ),
    "linear_probe": Task(
        "What a linear classifier reads off the frozen features, given the labels of a fraction of the patients.",
        _linear_probe,
        "auroc",
        learns=FROZEN,
        code=("linear_probe.py",),
    ),
}

# Asked on the cohort that a network was pretrained on: evaluation.protocol.OWN, known without importing it.
OWN_TASKS = ("zero_shot_classification", "zero_shot_grounding", "text_image_retrieval", "linear_probe")
