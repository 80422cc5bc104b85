"""A sentence that is grounded is the first that says that the finding is there, or it is the annotator's."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.layouts.ms_cxr import phrases
from cohorts.phantom.simulated import simulate_studies
from cohorts.readers.ms_cxr import DATASET
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.metrics.truth import Masks
from evaluation.tasks.base import Setting
from evaluation.tasks.phrase_grounding import PhraseGrounding, PhraseGroundingSettings, Phrases, find_phrases
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace

ENTITIES = ["effusion", "nodule"]
STUDIES = ["s0", "s1", "s1"]  # the last two images are of one study
SENTENCES = [
    [{"section": "findings", "text": text} for text in ("No nodule.", "Large effusion.", "Effusion on the left.")],
    [{"section": "findings", "text": "A nodule, and perhaps an effusion."}],
]


def triplets(*rows):
    names = ("study_id", "sentence", "entity", "exists")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


SAID = triplets(
    ("s0", 0, "nodule", "absent"),
    ("s0", 2, "effusion", "present"),
    ("s0", 1, "effusion", "present"),
    ("s0", 1, "effusion", "present"),
    ("s1", 0, "nodule", "present"),
    ("s1", 0, "effusion", "uncertain"),
)


def masks(*pairs):
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    return Masks(rows, columns, np.arange(len(pairs))[:, None, None] == np.arange(4).reshape(2, 2))


def test_one_phrase_per_image_and_finding_that_is_present():
    every = masks((2, 1), (0, 0), (0, 1), (1, 0), (1, 1))
    found = find_phrases(every, STUDIES, [*SENTENCES, SENTENCES[1]], SAID, ENTITIES)
    assert found.texts == [
        "A nodule, and perhaps an effusion.",
        "Large effusion.",
        "A nodule, and perhaps an effusion.",
    ]
    assert list(zip(found.masks.rows, found.masks.columns, strict=True)) == [(2, 1), (0, 0), (1, 1)]
    np.testing.assert_array_equal(found.masks.pixels, every.pixels[[0, 1, 4]])


def test_no_masks_and_nothing_said():
    assert find_phrases(masks(), [], [], SAID, ENTITIES).texts == []
    silent = find_phrases(masks((0, 0)), STUDIES[:1], SENTENCES[:1], SAID.slice(0, 1), ENTITIES)
    assert (silent.texts, len(silent.masks), silent.masks.pixels.shape) == ([], 0, (0, 2, 2))


def test_sentences_of_another_parser_are_refused():
    with pytest.raises(EvaluationError, match="without a RadGraph file"):
        find_phrases(masks((0, 0)), ["s1"], SENTENCES[1:], triplets(("s1", 1, "effusion", "present")), ENTITIES)


def test_a_sample_keeps_sentences_with_their_regions():
    rows = np.arange(20)
    pixels = rows[:, None, None] == np.arange(20)[None, :, None]
    phrases = Phrases(Masks(rows, rows % 3, np.broadcast_to(pixels, (20, 20, 2))), [f"sentence {row}" for row in rows])
    few = phrases.sample(7)
    assert len(few.texts) == len(few.masks) == 7
    for place, text in enumerate(few.texts):
        row = int(text.removeprefix("sentence "))
        assert (few.masks.rows[place], few.masks.columns[place]) == (row, row % 3)
        assert few.masks.pixels[place].all(axis=1).nonzero()[0].tolist() == [row]
    assert phrases.sample(7).texts == few.texts != phrases.sample(7, seed=1).texts
    assert phrases.sample(0) is phrases.sample(20) is phrases


def test_phrases_of_ms_cxr_are_asked_as_they_stand(tmp_path, monkeypatch):
    studies = simulate_studies(PhantomConfig(studies=8, height=96), 8)
    layout_writer("ms_cxr")(tmp_path / "archive", studies)
    workspace = Workspace(home=str(tmp_path / "home"), cohort="ms_cxr", archive_root=str(tmp_path / "archive"))
    update(workspace, IngestionSettings(images=ImagesSettings(size=32)), progress=False)
    dataset, asked = EvaluationDataset(workspace, DATASET), []
    assert len(dataset.fraction(1.0)) == 0  # every image tests

    def phrase_maps(images, texts):
        """Where the boxes are: cells of 8 x 8, as a network that knows them would draw them."""
        asked.extend(zip(images.image_ids, texts, strict=True))
        own = {f"{name}: {text}" for text in texts for name in DATASET.regions}
        labels = [label for label in dataset.region_labels() if label in own]
        masks = dataset.masks("test", labels)
        drawn = {
            (row, labels[column].partition(": ")[2]): pixels.reshape(8, 4, 8, 4).mean((1, 3))
            for row, column, pixels in zip(masks.rows, masks.columns, masks.pixels, strict=True)
        }
        return np.stack([drawn[row, text] for row, text in zip(images.rows, texts, strict=True)])

    predictions = SimpleNamespace(dataset=dataset, phrase_maps=phrase_maps, visible_side=None)
    values = PhraseGrounding().score(predictions, Setting(), PhraseGroundingSettings(smoothing=0))
    said = {(study.image_id, phrase): category for study in studies for _, category, phrase in phrases(study)}
    assert sorted(asked) == sorted(said)
    counts = {value.class_name: value.n for value in values if value.metric == "pointing_game"}
    for name in DATASET.regions:
        assert counts[name] == sum(category == name for category in said.values())
    found = {value.metric: value.value for value in values if value.class_name == "macro"}
    assert found["pointing_game"] == 1
    assert found["contrast_to_noise_signed"] > 1
