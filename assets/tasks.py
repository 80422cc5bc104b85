"""The downstream tasks: what each asks of a network, how it scores the answers, and the picture it draws of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.examination import Films, Network
from assets.workspace import Workspace
from evaluation.errors import EvaluationError
from evaluation.values import ZERO_SHOT, ResultValue

PICTURED = 6  # radiographs in the picture of heat maps
PROBE_FRACTION = 0.1  # one of cohorts.subsets.FRACTIONS


@dataclass(frozen=True)
class Task:
    """A task. A method that cannot do what it asks for raises NotAvailableError in `score`."""

    description: str
    score: Callable[[Network], Sequence[ResultValue]]  # nothing where the cohort has nothing to score on
    setting: str = ZERO_SHOT
    needs: tuple[str, ...] = ("shards", "studies")  # assets
    picture: str = ""  # name of its picture
    draw: Callable[[Network, str], bytes] = lambda network, note: b""  # a PNG over the note; empty: nothing to draw


def _classification(network: Network) -> list[ResultValue]:
    from evaluation.zero_shot_classification import best_thresholds, score, score_by_papers

    classes, test = list(network.classes), network.examine("test")
    if not classes or not len(test.data):
        return []
    validate = network.examine("validate")
    thresholds, by_mcc = (
        best_thresholds(validate.answers.scores, validate.truth.labels, criterion) for criterion in ("f1", "mcc")
    )
    asked = test.answers.scores, test.truth.labels, classes, test.truth.subjects
    return score(*asked, thresholds) + score_by_papers(*asked, by_mcc)


def _grounding(network: Network) -> list[ResultValue]:
    from evaluation.zero_shot_grounding import best_thresholds, score

    classes, test = list(network.classes), network.examine("test")
    if not classes or not len(test.data):
        return []
    validate = network.examine("validate")
    thresholds = best_thresholds(validate.answers.maps, validate.truth.masks)
    return score(test.answers.maps, test.truth.masks, classes, test.truth.subjects, thresholds)


def _retrieval(network: Network) -> list[ResultValue]:
    from cohorts.labels import label_matrix
    from evaluation.text_image_retrieval import categories_of, choose_candidates, read_queries, score

    films, categories = network.films("test"), categories_of(network.classes)
    candidates = choose_candidates(label_matrix(films.labels, list(categories)))
    if not len(candidates.rows):
        return []
    chosen = films.select(candidates.rows)
    sentences = [read_queries()[entity] for entity in categories.values()]
    similarities = network.similarities(chosen, [sentence for group in sentences for sentence in group])
    query_categories = np.repeat(np.arange(len(sentences)), [len(group) for group in sentences])
    return score(similarities, candidates.categories, query_categories, list(categories), chosen.subjects)


def _probe(network: Network) -> list[ResultValue]:
    from cohorts.labels import label_matrix, label_names
    from cohorts.subsets import films_of
    from evaluation.linear_probe import Labelled, fit_and_score

    test = network.films("test")
    names = label_names(test.labels) if len(test) else []
    subsets = _subsets(network.workspace)
    train = network.films("train")
    train = train.select(pc.is_in(pa.array(train.image_ids), films_of(subsets, PROBE_FRACTION)).to_numpy(False))
    if not names or not len(train):
        return []

    def labelled(films: Films) -> Labelled:
        return Labelled(network.features(films), label_matrix(films.labels, names), films.subjects)

    return fit_and_score(labelled(train), labelled(network.films("validate")), labelled(test), names)


def _subsets(workspace: Workspace) -> pa.Table:
    path = workspace.folder("subsets") / "subsets.parquet"
    if not path.exists():
        raise EvaluationError("There are no label fractions to probe with: materialize the asset `subsets` first.")
    return pq.read_table(path)


def _roc_curves(network: Network, note: str) -> bytes:
    from evaluation.pictures import roc_curves

    test = network.examine("test")
    return roc_curves(test.answers.scores, test.truth.labels, list(network.classes), note)


def _heat_maps(network: Network, note: str) -> bytes:
    """The first test radiograph of each class that has a mask."""
    from evaluation.pictures import heat_maps

    test, classes = network.examine("test"), list(network.classes)
    masks = test.truth.masks
    if not len(masks):
        return b""
    _, chosen = np.unique(masks.columns, return_index=True)
    chosen = chosen[:PICTURED]
    rows, columns = masks.rows[chosen], masks.columns[chosen]
    return heat_maps(
        test.data.pixels[rows],
        masks.pixels[chosen],
        test.answers.maps[rows, columns],
        [classes[column] for column in columns],
        note,
    )


TASKS = {
    "zero_shot_classification": Task(
        "Which findings are there, told from their names or descriptions.",
        _classification,
        picture="roc_curves",
        draw=_roc_curves,
    ),
    "zero_shot_grounding": Task(
        "Where the findings are, told from the maps of their queries.",
        _grounding,
        picture="heat_maps",
        draw=_heat_maps,
    ),
    "text_image_retrieval": Task(
        "Which films a sentence finds: the share of the right ones among the first, as in ConVIRT.",
        _retrieval,
    ),
    "linear_probe": Task(
        "What a linear classifier reads off the frozen features, given the labels of 10 % of the training patients.",
        _probe,
        setting=f"{100 * PROBE_FRACTION:g} %",
        needs=("shards", "subsets"),
    ),
}
