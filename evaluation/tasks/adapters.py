"""The downstream tasks: what each asks of a network, and how it scores the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluation.dataset import Films, entities_of
from evaluation.metrics.values import ZERO_SHOT, ResultValue
from evaluation.predictions import Network

if TYPE_CHECKING:
    from evaluation.learning.labelled_images import LabelledFilms
    from evaluation.protocol import Protocol

NEVER, ONCE, BOTH = "never", "once", "both"  # whether a task trains, and whether with a frozen and a tuned encoder


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
    from evaluation.tasks.zero_shot_classification import best_thresholds, score, score_by_papers

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
    from evaluation.tasks.zero_shot_grounding import best_thresholds, score, score_by_papers

    test = network.examine("test")
    if not network.classes or not len(test.truth.masks):
        return []
    validate = network.examine("validate")
    seen_masks = [examined.truth.masks.middle(network.seen) for examined in (validate, test)]
    thresholds = best_thresholds(validate.answers.maps, seen_masks[0])
    asked = test.answers.maps, seen_masks[1], network.classes, test.truth.subjects
    return score(*asked, thresholds) + score_by_papers(*asked)


def _phrase_grounding(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.phrases import phrases_of
    from evaluation.tasks.phrase_grounding import PhraseGroundingConfig, score

    cohort = network.cohort
    entities = entities_of(cohort.questions)
    films, classes = cohort.films("test"), list(entities)
    masks = cohort.truth("test", classes).masks if classes else None
    if masks is None or not len(masks):
        return []
    reports = cohort.reader.columns("test", ["study_id", "sentences"])
    sentences = reports["sentences"].to_pylist()
    phrases = phrases_of(masks, reports["study_id"].to_numpy(), sentences, cohort.triplets(), list(entities.values()))
    config = PhraseGroundingConfig(**options)
    phrases = phrases.sample(config.phrases)
    if not phrases.texts:
        return []
    maps = network.phrase_maps(films.select(phrases.masks.rows), phrases.texts)
    return score(maps, phrases.masks, classes, films.subjects, config, network.seen)


def _text_image_retrieval(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.metrics.precision_at import choose_candidates
    from evaluation.tasks.text_image_retrieval import categories_of, read_queries, score

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


def _image_image_retrieval(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.image_image_retrieval import ImageImageRetrievalConfig, choose_films, score
    from evaluation.tasks.text_image_retrieval import categories_of

    cohort = network.cohort
    films, categories = cohort.films("test"), list(categories_of(entities_of(cohort.questions)))
    labels = cohort.label_values(films, categories)
    asked, ranked = choose_films(labels, films.subjects, ImageImageRetrievalConfig(**options))
    if not len(asked.rows) or not len(ranked.rows):
        return []
    features, subjects = network.features(films), films.subjects
    return score(
        features[ranked.rows], ranked.categories, subjects[ranked.rows],
        features[asked.rows], asked.categories, subjects[asked.rows], categories,
    )  # fmt: skip


def _image_report_retrieval(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.image_report_retrieval import ImageReportRetrievalConfig, choose_pairs, score

    films = network.cohort.films("test")
    texts = network.cohort.reader.columns("test", ["text"])["text"].to_pylist()
    chosen = choose_pairs(texts, ImageReportRetrievalConfig(**options))
    if len(chosen) < 2:
        return []
    films = films.select(chosen)
    reports = [texts[row] for row in chosen]
    distinct, of_film = np.unique(reports, return_inverse=True)
    similarities = network.similarities(films, distinct.tolist())[:, of_film]
    return score(similarities, np.arange(len(films)), reports, films.subjects)


def _linear_probe(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.linear_probe import Labelled, fit_and_score

    names, train, validate, test = _classified(network, setting)
    if not names or not len(train) or not len(test):
        return []

    def labelled(films: Films) -> Labelled:
        return Labelled(network.features(films), network.cohort.label_values(films, names), films.subjects)

    exclusive = network.cohort.protocol.exclusive and len(names) > 1
    return fit_and_score(labelled(train), labelled(validate), labelled(test), names, exclusive)


def _fine_tune(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.fine_tune import FineTuneConfig, fit_and_score

    names, train, validate, test = _labelled(network, setting)
    if not names or not len(train.subjects) or not len(test.subjects):
        return []
    exclusive, config = network.cohort.protocol.exclusive and len(names) > 1, FineTuneConfig(**options)
    return fit_and_score(network.method, train, validate, test, names, config, setting.draw, exclusive)


def _grading(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.fine_tune import FineTuneConfig
    from evaluation.tasks.grading import fit_and_score

    names, train, validate, test = _labelled(network, setting)
    if not names or not len(train.subjects) or not len(test.subjects):
        return []
    return fit_and_score(network.method, train, validate, test, names, FineTuneConfig(**options), setting.draw)


def _labelled(network: Network, setting: Setting) -> tuple[list[str], LabelledFilms, LabelledFilms, LabelledFilms]:
    from evaluation.learning.labelled_images import LabelledFilms

    names, *splits = _classified(network, setting)
    cohort = network.cohort
    train, validate, test = (
        LabelledFilms(cohort.pixels(films), cohort.label_values(films, names), films.subjects) for films in splits
    )
    return names, train, validate, test


def _detection(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.detection import BoxedFilms, DetectionConfig, fit_and_score

    cohort = network.cohort
    train, validate, test = (
        BoxedFilms(cohort.pixels(films), cohort.boxes(films), films.subjects) for films in _splits(network, setting)
    )
    if not len(train.subjects) or not any(len(boxes) for boxes in test.boxes):
        return []
    return fit_and_score(network.method, train, validate, test, DetectionConfig(**options), setting.draw)


def _segmentation(network: Network, setting: Setting, options: dict[str, Any]) -> list[ResultValue]:
    from evaluation.tasks.segmentation import MaskedFilms, SegmentationConfig, fit_and_score

    cohort = network.cohort
    train, validate, test = (
        MaskedFilms(cohort.pixels(films), cohort.masks(films), films.subjects) for films in _splits(network, setting)
    )
    if not len(train.subjects) or not test.masks.any():
        return []
    region, config = " and ".join(cohort.protocol.regions), SegmentationConfig(**options)
    return fit_and_score(network.method, train, validate, test, region, config, setting.draw, setting.tuned)


def _splits(network: Network, setting: Setting) -> tuple[Films, Films, Films]:
    """The chosen train films, validate, test."""
    assert setting.fraction is not None
    cohort = network.cohort
    return cohort.fraction(setting.fraction, setting.draw), cohort.films("validate"), cohort.films("test")


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
    ),
    "zero_shot_grounding": Task(
        "Where the findings are, told from the maps of their queries.",
        _zero_shot_grounding,
        "pointing_game",
    ),
    "text_image_retrieval": Task(
        "Which films a sentence finds: the share of the right ones among the first, as in ConVIRT.",
        _text_image_retrieval,
        "precision_at_5",
    ),
    "image_image_retrieval": Task(
        "Which films a film of one finding finds: the share of the right ones among the first, as in ConVIRT.",
        _image_image_retrieval,
        "precision_at_5",
    ),
    "image_report_retrieval": Task(
        "Whether a film finds its own report, and a report its film, among all of the test split.",
        _image_report_retrieval,
        "recall_at_1",
    ),
    "phrase_grounding": Task(
        "Where the sentences of reports point in their films, as in BioViL.",
        _phrase_grounding,
        "contrast_to_noise",
    ),
    "linear_probe": Task(
        "What a linear classifier reads off the frozen features, given the labels of a fraction of the patients.",
        _linear_probe,
        "auroc",
        learns=ONCE,
    ),
    "fine_tune": Task(
        "What a classifier learns that starts from the network and tunes all of its layers.",
        _fine_tune,
        "auroc",
        learns=ONCE,
    ),
    "grading": Task(
        "How severe: one softmax over the grades, each against the rest, as in MedKLIP.",
        _grading,
        "auroc",
        learns=ONCE,
    ),
    "detection": Task(
        "Boxes that a YOLOv3 head finds on the frozen network, as in MGCA.",
        _detection,
        "map",
        learns=ONCE,
    ),
    "segmentation": Task(
        "Regions that a U-Net finds whose encoder is the network, frozen or tuned, as in MGCA and MedKLIP.",
        _segmentation,
        "dice",
        learns=BOTH,
    ),
}

# Asked on the cohort that a network was pretrained on: evaluation.protocol.OWN, known without importing it.
OWN_TASKS = (
    "zero_shot_classification",
    "zero_shot_grounding",
    "phrase_grounding",
    "text_image_retrieval",
    "image_image_retrieval",
    "image_report_retrieval",
    "linear_probe",
)
