"""Stored predictions are read only where they, and the weights that they are of, are what was written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evaluation.dataset import EvaluationDataset
from evaluation.predictions import Predictions
from models.errors import ModelError
from models.run_files import CARD, RESULT, TRAINED
from store.errors import DamageError, UserError
from tests.evaluation.damage import DAMAGES, flip, replace_by, truncate
from tests.evaluation.seer import RUN, write_run


@pytest.fixture
def said():
    return []


def predictions_of(cohort, said, run=RUN, weights="trained"):
    return Predictions(EvaluationDataset(cohort), run, weights, said.append)


def stored(cohort):
    """The only file of predictions."""
    (path,) = (cohort.home_path() / RUN.output / "predictions").glob("*.npz")
    return path


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_predictions_are_made_again_which_is_said(cohort, seer, said, damage):
    first = predictions_of(cohort, said).zero_shot("test")
    path, shown = stored(cohort), seer.shown
    before = path.read_bytes()
    damage(path)
    again = predictions_of(cohort, said).zero_shot("test")
    np.testing.assert_array_equal(again.scores, first.scores)
    np.testing.assert_array_equal(again.maps, first.maps)
    assert seer.shown == 2 * shown
    assert path.read_bytes() == before
    assert sum("it is made again." in line for line in said) == 1


def test_predictions_of_other_images_are_not_taken_under_the_name_of_these(cohort, seer, said):
    first = predictions_of(cohort, said).features(EvaluationDataset(cohort).images("test"))
    path = stored(cohort)
    predictions_of(cohort, said).features(EvaluationDataset(cohort).images("validate"))
    (other,) = set(path.parent.glob("*.npz")) - {path}
    replace_by(path, other)
    again = predictions_of(cohort, said).features(EvaluationDataset(cohort).images("test"))
    np.testing.assert_array_equal(again, first)
    assert any("was made from something else" in line for line in said)


def test_predictions_belong_to_their_weights(cohort, seer, said):
    predictions_of(cohort, said).zero_shot("test")
    shown, other = seer.shown, write_run(cohort, b"other weights")
    predictions_of(cohort, said, other).zero_shot("test")
    assert seer.shown == 2 * shown


@pytest.mark.parametrize("name", [TRAINED, CARD, RESULT])
@pytest.mark.parametrize("damage", [flip, truncate])
def test_stored_predictions_are_not_read_where_the_run_is_not_what_was_trained(cohort, seer, said, name, damage):
    predictions_of(cohort, said).zero_shot("test")
    damage(cohort.home_path() / RUN.output / name)
    with pytest.raises(DamageError) as caught:
        predictions_of(cohort, said).zero_shot("test")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_that_were_deleted_stop_with_the_way_to_mend_them(cohort, seer, said):
    (cohort.home_path() / RUN.output / TRAINED).unlink()
    with pytest.raises(UserError, match=r"weights\.safetensors is missing; give the command that trained"):
        predictions_of(cohort, said).zero_shot("test")


def test_weights_of_another_run_in_the_same_folder_are_not_taken(cohort, seer, said):
    """Weights and result that fit each other, but not what is remembered of the run."""
    write_run(cohort, b"other weights")
    with pytest.raises(ModelError, match="is of another run than the one that was finished last"):
        predictions_of(cohort, said).zero_shot("test")
    predictions_of(cohort, said, replace(RUN), "untrained").zero_shot("test")  # they are the same
