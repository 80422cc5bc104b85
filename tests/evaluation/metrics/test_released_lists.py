"""The released lists of CheXpert 8x200: images are found in any split, rows without an image are named and counted."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from cohorts.registry import open_cohort
from evaluation.dataset import EvaluationDataset
from evaluation.errors import EvaluationError
from evaluation.evaluator import Evaluator
from evaluation.metrics.released_lists import IMAGES, TEXTS, digest_lists, name_image, read_candidates
from evaluation.tasks.base import Setting
from evaluation.tasks.registry import task
from tests.evaluation.seer import LABELS, RUN, SENTENCES, predictions_of

HEAD = "CheXpert-v1.0-small/train"


def path_of(image_id):
    return f"{HEAD}/{image_id}/study1/view1_frontal.jpg"


@pytest.fixture
def chexpert(cohort, seer, monkeypatch):
    """The tiny cohort as if it were CheXpert: an image i0001 is .../i0001/study1/view1_frontal.jpg."""
    predictions = predictions_of(cohort)
    predictions.dataset.facts = replace(predictions.dataset.facts, name="chexpert")
    monkeypatch.setattr("evaluation.metrics.released_lists.name_image", lambda path: path.split("/")[-3])
    predictions.said = []
    predictions.log = predictions.said.append
    return predictions


def alone(predictions, label, splits=("train", "test", "validate")):
    """The images that have a label and no other, of some splits."""
    found = []
    for split in splits:
        images = predictions.dataset.images(split)
        values = predictions.dataset.label_values(images, list(LABELS)) == 1
        found += images.image_ids[(values.sum(axis=1) == 1) & values[:, LABELS.index(label)]].tolist()
    return found


def write(folder, name, head, rows):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head.split(","), *rows])


def write_lists(folder, predictions, more=()):
    """Two queries and ten candidates of each label, from all splits; `more` are rows of candidates."""
    queries, candidates = [], []
    for place, label in enumerate(LABELS):
        own = alone(predictions, label)
        own = own[:4] + own[-8:]  # of train and of the last split
        queries += [(label, path_of(image)) for image in own[:2]]
        candidates += [(path_of(image), *np.eye(3, dtype=int)[place]) for image in own[2:]]
    for part in (IMAGES, TEXTS):
        write(folder, f"{part}/candidate.csv", ",".join(("Path", *LABELS)), [*candidates, *more])
    write(folder, f"{IMAGES}/query.csv", "Variable,Path", queries)
    texts = [(label, text) for text, place in SENTENCES.items() for label in LABELS[place : place + 1]]
    write(folder, f"{TEXTS}/query.csv", "Variable,Text", texts)
    return [path for path, *_ in candidates]


def score(predictions, folder, name):
    chosen = task(name)
    settings = chosen.read_settings({name: {"lists": str(folder)}})
    values = chosen.score(predictions, Setting(), settings)
    return {value.metric: value for value in values if value.class_name == "macro"}


def test_listed_images_are_found_in_every_split_and_ranked_in_the_order_of_the_list(chexpert, tmp_path):
    paths = write_lists(tmp_path, chexpert)
    values = score(chexpert, tmp_path, "text_image_retrieval")
    assert values["precision_at_5"].value == 1
    assert values["precision_chance"].value == pytest.approx(1 / 3)
    assert (values["candidates_not_found"].value, values["candidates_not_found"].n) == (0, len(paths))
    values = score(chexpert, tmp_path, "image_image_retrieval")
    assert values["precision_at_5"].value > 0.9
    assert (values["queries_not_found"].value, values["queries_not_found"].n) == (0, 6)
    assert all(line.startswith("Predicting") for line in chexpert.said)


def test_features_belong_to_the_images_of_their_rows(chexpert, tmp_path):
    paths = write_lists(tmp_path, chexpert)
    ranked = read_candidates(tmp_path, IMAGES, chexpert.dataset, sorted(LABELS))
    assert len(ranked.parts) > 1
    names = ranked.predict(lambda images: images.image_ids[:, None])[:, 0]
    assert names.tolist() == [path.split("/")[-3] for path in paths]
    parts = [zip(images.image_ids, images.subjects, strict=True) for images, _ in ranked.parts]
    own = {image: subject for part in parts for image, subject in part}
    assert [own[name] for name in names] == ranked.subjects.tolist()


def test_rows_without_an_image_are_named_and_counted(chexpert, tmp_path):
    gone = path_of("i9999")
    write_lists(tmp_path, chexpert, more=[(gone, 1, 0, 0)])
    values = score(chexpert, tmp_path, "text_image_retrieval")
    assert values["candidates_not_found"].value == pytest.approx(1 / 31)
    assert f"CheXpert 8x200, candidates: 1 of 31 rows are no image of chexpert here: {gone}." in chexpert.said


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(path_of("i0001"), 1, 1, 0)], "1 rows that are not positive for exactly one category, the first .*i0001"),
        ([(path_of("i0001"), "", "x", 0)], "not positive for exactly one category"),
    ],
)
def test_candidates_of_no_or_several_categories_are_refused(chexpert, tmp_path, rows, sentence):
    write_lists(tmp_path, chexpert, more=rows)
    with pytest.raises(EvaluationError, match=sentence):
        score(chexpert, tmp_path, "text_image_retrieval")


def test_files_that_cannot_be_used_are_one_sentence(chexpert, tmp_path):
    with pytest.raises(EvaluationError, match=r"There is no .*query.csv: `lists` has to name the folder"):
        score(chexpert, tmp_path, "image_image_retrieval")
    write_lists(tmp_path, chexpert)
    write(tmp_path, f"{IMAGES}/query.csv", "Variable,File", [("Edema", "a")])
    with pytest.raises(EvaluationError, match="needs rows, and the column `Path`"):
        score(chexpert, tmp_path, "image_image_retrieval")
    write(tmp_path, f"{IMAGES}/query.csv", "Variable,Path", [("Edema", path_of("gone"))])
    with pytest.raises(EvaluationError, match="none of its 1 rows is an image of chexpert here, such as "):
        score(chexpert, tmp_path, "image_image_retrieval")


def test_other_datasets_have_our_own_choice(cohort, seer, tmp_path):
    assert score(predictions_of(cohort), tmp_path, "text_image_retrieval")["precision_at_5"].value == 1


def test_results_depend_on_the_content_of_the_lists(cohort, tmp_path):
    write(tmp_path, f"{TEXTS}/query.csv", "Variable,Text", [("Edema", "a")])
    options = {"text_image_retrieval": {"lists": str(tmp_path)}}
    evaluator = Evaluator(EvaluationDataset(cohort), RUN, options, print)

    def protocol():
        return evaluator._protocol("text_image_retrieval", Setting())

    before = protocol()
    assert protocol() == before
    write(tmp_path, f"{TEXTS}/query.csv", "Variable,Text", [("Edema", "b")])
    assert protocol() != before
    assert digest_lists("") == ""


def test_images_have_the_names_that_the_reader_gives_them(tmp_path):
    layout_writer("chexpert")(tmp_path, simulate_studies(PhantomConfig(studies=6, height=64), 6))
    found = open_cohort("chexpert", tmp_path).scan().studies.to_pylist()
    names = {row["image_id"]: row["image_path"] for row in found if row["split"] == "train"}
    assert names
    assert all(name_image(path) == name for name, path in names.items())
    assert name_image("CheXpert-v1.0-small/train/patient01653/study2/view1_frontal.jpg") == (
        "patient01653-study2-view1_frontal"
    )
