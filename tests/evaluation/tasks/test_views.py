"""Laterals in the shards change no number of frontal images, and are scored under another name when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import MagicMock

import numpy as np
import pyarrow as pa
import pytest

from cohorts.dataset import Dataset
from cohorts.subsets import FRACTIONS
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.evaluator import Evaluator
from evaluation.metrics.facts import study_facts
from evaluation.metrics.units import ALL, STUDY, VIEWS
from evaluation.metrics.values import ResultValue
from evaluation.predictions import Predictions
from evaluation.results.headlines import PLACES
from evaluation.results.store import read_results
from evaluation.tables.measured_rows import make_key
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import repeated_settings, task
from imaging.dicom.views import FRONTAL, LATERAL
from ingestion.workspace import Workspace
from report_parsing.tables import TRIPLETS
from store import batches
from store.seals import write_sealed_table
from tests.evaluation import seer as tiny

OWN = Dataset("phantom", regions=tiny.LABELS[:1])
SCORED = (  # tasks that need no training of the network, and one that learns on frozen features
    *("zero_shot_classification", "zero_shot_grounding", "phrase_grounding", "image_report_retrieval"),
    *("text_image_retrieval", "image_image_retrieval", "linear_probe"),
)


def aside(row: dict, place: int) -> dict:
    """A lateral image of the same study that shows the findings of another; some come before the frontal ones."""
    name = f"{'a' if place % 2 else 'z'}{place:04d}"
    return {**row, "image_id": name, "view": "LATERAL", "pixels": tiny.image(place + tiny.IMAGES)["pixels"]}


def rows_of(views: str) -> list[dict]:
    frontal = [tiny.image(index) for index in range(tiny.IMAGES)]
    return frontal if views == FRONTAL else [*frontal, *(aside(row, place) for place, row in enumerate(frontal))]


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> dict[str, Workspace]:
    """The tiny cohort with its frontal images, and with all."""
    found = {views: Workspace(home=str(tmp_path_factory.mktemp(views))) for views in (FRONTAL, ALL)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RADALIGN_COHORT", "RADALIGN_PHANTOM_ROOT"):
            patch.delenv(name, raising=False)
        for views, there in found.items():
            tiny.write_run(there)
            rows = rows_of(views)
            tiny.write_tables(there, rows)
            said = [triplet for row in rows if row["view"] == "PA" for triplet in tiny.triplets(row)]  # one per study
            spoken = batches.output_path(there.folder("triplets"), "0" * 20)
            write_sealed_table(pa.Table.from_pylist(said, schema=TRIPLETS), spoken)
    return found


@pytest.fixture
def build(homes, workspace):
    """A home with the images of some views."""
    return homes.__getitem__


def score(workspace, name: str, view: str = FRONTAL) -> Sequence[ResultValue]:
    predictions = Predictions(EvaluationDataset(workspace, OWN), tiny.RUN, "trained", lambda line: None).of_view(view)
    (_, setting), *_ = repeated_settings([name], [0.1], 1, view=view)
    settings = task(name).read_settings({"image_image_retrieval": {"queries": 2, "candidates": 8}})
    return task(name).score(predictions, setting, settings)


def are_equal(one: Sequence[ResultValue], other: Sequence[ResultValue]) -> bool:
    """Whether two results say the same, apart from the last bits, which depend on where arrays lie in memory."""
    names = [[(value.metric, value.class_name, value.n) for value in values] for values in (one, other)]
    if names[0] != names[1]:
        return False
    numbers = [
        np.concatenate([np.ravel(np.array([value.value, value.low, value.high], float)) for value in values]
                       + [np.ravel(value.resampled) for value in values if value.resampled is not None])
        for values in (one, other)
    ]  # fmt: skip
    return np.allclose(*numbers, rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", SCORED)
def test_numbers_are_the_same_with_and_without_laterals(build, seer, name):
    alone, among = build(FRONTAL), build(ALL)
    expected = score(alone, name)
    assert any(value.value is not None for value in expected)
    assert are_equal(score(among, name), expected)
    if name != "phrase_grounding":  # whose maps are of the phrase alone here
        assert not are_equal(score(among, name, LATERAL), expected)
    assert max(value.n for value in expected) <= max(value.n for value in score(among, name, ALL))


def test_regions_boxes_and_fractions_are_those_of_the_view(build):
    alone, among = EvaluationDataset(build(FRONTAL), OWN), EvaluationDataset(build(ALL), OWN)
    for share in FRACTIONS:
        assert alone.fraction(share).image_ids.tolist() == among.fraction(share).image_ids.tolist()
        both = among.of_view(ALL).fraction(share)
        assert set(both.subjects) == set(alone.fraction(share).subjects)
        assert len(both) == 2 * len(alone.fraction(share))
    for split in ("train", "test"):
        one, other = alone.images(split), among.images(split)
        np.testing.assert_array_equal(one.pixels[:9], other.pixels[:9])
        np.testing.assert_array_equal(alone.joined_masks(one), among.joined_masks(other))
        assert alone.joined_masks(one).any()
        chosen = np.array([5, 2, 7])
        np.testing.assert_array_equal(alone.joined_masks(one.select(chosen)), among.joined_masks(other.select(chosen)))
        assert [boxes.tolist() for boxes in alone.boxes(one)] == [boxes.tolist() for boxes in among.boxes(other)]
    kinds = {view: study_facts(among, among.of_view(view).images("test"))["kind"] for view in VIEWS}
    assert {view: set(found.to_pylist()) for view, found in kinds.items()} == {
        FRONTAL: {FRONTAL}, LATERAL: {LATERAL}, ALL: {FRONTAL, LATERAL},
    }  # fmt: skip


def test_the_score_of_a_study_is_that_of_all_its_views(build, seer):
    predictions = Predictions(EvaluationDataset(build(ALL), OWN), tiny.RUN, "trained", lambda line: None).of_view(ALL)
    by_study = task("zero_shot_classification").score(predictions, Setting(unit=STUDY, view=ALL), None)
    by_image = task("zero_shot_classification").score(predictions, Setting(view=ALL), None)
    counts = [max(value.n for value in values if value.class_name == "Edema") for values in (by_study, by_image)]
    assert 2 * counts[0] == counts[1]


def evaluate(workspace, view: str):
    at = Evaluator(EvaluationDataset(workspace, OWN), tiny.RUN, {}, lambda line: None, MagicMock())
    return list(at.evaluate(["zero_shot_classification"], untrained=False, view=view))


def test_results_of_the_views_stand_side_by_side(build, seer):
    there = build(ALL)
    for view in (*VIEWS, *VIEWS):
        (outcome,) = evaluate(there, view)
    assert outcome.reused
    assert outcome.leading == "zero_shot_classification/zero-shot all views/auroc/macro"
    table = read_results(there.home_path())
    assert set(table["setting"].to_pylist()) == {"zero-shot", "zero-shot, lateral images", "zero-shot, all views"}


def test_laterals_that_are_not_there_are_said(build, seer):
    (outcome,) = evaluate(build(FRONTAL), LATERAL)
    assert outcome.note.startswith("not available: the shards of phantom have no lateral images; where its archive has")
    assert not outcome.failed


def test_names_of_settings_tell_the_views_apart():
    names = {Setting(share, tuned, unit=unit, view=view).name
             for share, tuned in ((None, False), (0.1, False), (0.1, True))
             for unit in ("image", "study") for view in VIEWS}  # fmt: skip
    assert len(names) == 18
    assert Setting(0.1, True, unit=STUDY, view=LATERAL).name == "10 %, tuned, by study, lateral images"
    row = {"method": "mgca", "cohort": "c", "task": "linear_probe", "metric": "auroc", "class": "macro"}
    assert len({make_key({**row, "setting": name}) for name in names}) == 18
    assert make_key({**row, "setting": "10 %"}) == make_key({**row, "setting": Setting(0.1).name})
    assert not any("lateral" in setting or "all views" in setting for _, _, setting in PLACES)  # none is a headline


def test_another_view_is_refused():
    with pytest.raises(EvaluationError, match="view of the evaluation is `side`, but must be one of frontal, lateral"):
        repeated_settings(["linear_probe"], [0.1], 1, view="side")
