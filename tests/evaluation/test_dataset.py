"""What evaluation reads of a cohort: labels as the protocol decides them, regions where they are on the square."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from cohorts.labels import CHEXPERT_5
from cohorts.subsets import FRACTIONS, subset_table
from cohorts.tables import STUDIES
from evaluation.dataset import CohortFilms, knowledge
from evaluation.protocol import DOWNSTREAM, OWN
from imaging.letterbox import letterbox_box, letterbox_mask
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store.atomic import write_table

SIZE = 16
OPACITY = "Opacity"
REGIONS = replace(OWN, regions=(OPACITY,))
WIDE, TALL = (40, 80), (90, 60)  # heights and widths of films


def box(x, y, width, height, label=OPACITY):
    return {"label": label, "x": x, "y": y, "width": width, "height": height}


def rectangle(x, y, width, height, label=OPACITY):
    """The same region, as an outline."""
    return {"label": label, "kind": "rectangle", "points": [x, y, x + width, y + height]}


def film(index, shape=WIDE, split="test", subject=None, labels=(), **said):
    height, width = shape
    return {
        **dict.fromkeys(STUDIES.names),
        **{"cohort": "phantom", "image_id": f"i{index}", "study_id": f"s{index}", "subject_id": subject or f"p{index}"},
        **{"split": split, "view": "PA", "image_path": "a.png", "height": height, "width": width, "text": ""},
        **{"pixels": bytes([index]) * SIZE**2, "sentences": [], "triplets": [], "labels": list(labels), **said},
    }


@pytest.fixture
def build(workspace):
    """Writes films as studies, subsets and shards."""

    def write(*rows, protocol=OWN):
        studies = pa.Table.from_pylist([{name: row.get(name) for name in STUDIES.names} for row in rows], STUDIES)
        write_table(studies, workspace.folder("studies") / "studies.parquet")
        write_table(subset_table(studies), workspace.folder("subsets") / "subsets.parquet")
        schema, folder = shard_schema(SIZE), workspace.folder("shards")
        folder.mkdir(parents=True)
        shard = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)
        write_shard(shard, folder / "a.parquet")
        write_manifest(folder, [folder / "a.parquet"], [], [], SIZE, "phantom")
        return CohortFilms(workspace, protocol)

    return write


def test_boxes_lie_where_the_letterbox_puts_them(build):
    drawn = [(10, 5, 30, 20), (0, 0, 80, 40)], [], [(30, 45, 30, 45)]
    films = build(
        film(0, WIDE, boxes=[*(box(*one) for one in drawn[0]), box(1, 1, 2, 2, "Mass")]),
        film(1, WIDE),
        film(2, TALL, boxes=[box(*one) for one in drawn[2]]),
        protocol=REGIONS,
    )
    found = films.boxes(films.films("test"))
    for boxes, own, shape in zip(found, drawn, (WIDE, WIDE, TALL), strict=True):
        assert (boxes.shape, boxes.dtype) == ((len(own), 4), np.float32)
        for corners, one in zip(boxes, own, strict=True):
            x, y, width, height = letterbox_box(one, *shape, SIZE)
            np.testing.assert_allclose(corners, [x, y, x + width, y + height], rtol=1e-6)
    np.testing.assert_array_equal(found[0][1], [0, 4, 16, 12])  # a wide film fills the middle half of its square


def test_boxes_and_masks_follow_the_chosen_films(build):
    places = [(10 * index, 0, 10, 40) for index in range(4)]
    rows = [
        film(index, boxes=[box(*place)], shapes=[rectangle(*place)], labels=[(OPACITY, 1)])
        for index, place in enumerate(places)
    ]
    films = build(*rows, protocol=REGIONS)
    every = films.films("test")
    chosen = every.select(np.array([3, 1]))
    np.testing.assert_array_equal(films.boxes(chosen), np.array(films.boxes(every))[[3, 1]])
    np.testing.assert_array_equal(films.masks(chosen), films.masks(every)[[3, 1]])
    np.testing.assert_array_equal(films.pixels(chosen)[:2].max((1, 2)), [3, 1])
    assert films.masks(chosen)[0].any()


def test_masks_of_all_regions_are_joined(build):
    left, right = (0, 0, 20, 40), (60, 0, 20, 40)
    labels = [("Fluid", 1), ("Air", 1)]
    films = build(
        film(0, shapes=[rectangle(*left, "Fluid"), rectangle(*right, "Air")], labels=labels),
        film(1, shapes=[rectangle(*left, "Fluid"), rectangle(*right, "Mass")], labels=labels),
        film(2, labels=[("Fluid", 0)]),
        protocol=replace(OWN, regions=("Fluid", "Air")),
    )
    expected = np.zeros((3, *WIDE), bool)
    expected[:2, :, :20] = True
    expected[0, :, 60:] = True
    squares = np.stack([letterbox_mask(mask, SIZE) for mask in expected])
    masks = films.masks(films.films("test"))
    np.testing.assert_array_equal(masks, squares)
    assert masks.sum((1, 2)).tolist() == [64, 32, 0]


def test_there_are_no_masks_of_no_films(build):
    films = build(film(0), protocol=REGIONS)
    assert films.masks(films.films("train")).shape == (0, SIZE, SIZE)
    assert films.boxes(films.films("train")) == []


def test_uncertain_labels_of_chexpert_are_decided_in_train_only(build):
    uncertain = [(name, -1) for name in CHEXPERT_5]
    films = build(
        film(0, split="train", labels=uncertain),
        film(1, split="train", labels=[("Edema", 0), ("Atelectasis", 1)]),
        film(2, split="test", labels=uncertain),
        film(3, split="test", labels=[("Edema", 1)]),
        protocol=DOWNSTREAM["chexpert"],
    )
    train, test = (films.label_values(films.films(split), CHEXPERT_5) for split in ("train", "test"))
    np.testing.assert_array_equal(train, [[1, 0, 0, 1, 1], [1, 0, 0, 0, 0]])  # Atelectasis ... Pleural Effusion
    np.testing.assert_array_equal(test, [[np.nan] * 5, [0, 0, 0, 1, 0]])  # silence is absence, doubt is not


def test_what_other_cohorts_are_silent_about_stays_unknown(build):
    films = build(film(0, labels=[("Edema", -1)]), film(1, split="train", labels=[("Edema", -1), ("Mass", 1)]))
    np.testing.assert_array_equal(films.label_values(films.films("test"), ["Edema", "Mass"]), [[np.nan, np.nan]])
    np.testing.assert_array_equal(films.label_values(films.films("train"), ["Edema", "Mass"]), [[np.nan, 1]])


def test_the_truth_has_the_labels_of_the_protocol(build):
    films = build(film(0, labels=[("Edema", 1)]), protocol=DOWNSTREAM["chexpert"])
    np.testing.assert_array_equal(films.truth("test", ["Edema", "Atelectasis"]).labels, [[1, 0]])


def test_unseen_findings_are_described_to_methods_that_ask_for_entities(build):
    films = build(film(0), protocol=DOWNSTREAM["covidx"])
    assert films.queries("label") == ["COVID-19", "pneumonia", "normal"]
    covid, *known = films.queries("entity")
    assert known == ["pneumonia", "normal"]
    assert covid == knowledge().describe(knowledge().lookup("COVID-19").name)
    assert len(covid.split()) > 10


def test_a_label_is_asked_for_in_the_words_of_the_protocol(build):
    films = build(film(0), protocol=DOWNSTREAM["covid_rural"])
    assert list(films.questions.items()) == [(DOWNSTREAM["covid_rural"].regions[0], "COVID-19")]
    assert films.queries("label") == ["COVID-19"]


def test_fractions_are_of_patients_nested_and_other_ones_in_every_draw(build):
    rows = [film(index, split="train", subject=f"p{index // 2}") for index in range(200)]
    films = build(*rows, film(200, split="test"))
    found = {share: set(films.fraction(share).subjects) for share in FRACTIONS}
    assert found[0.01] < found[0.1] < found[1.0] == set(films.films("train").subjects)
    for share in FRACTIONS:
        assert len(films.fraction(share)) == 2 * len(found[share])  # all films of a patient
    assert 5 <= len(found[0.1]) <= 15
    other = films.fraction(0.1, draw=1)
    assert set(other.subjects) != found[0.1]
    np.testing.assert_array_equal(CohortFilms(films.workspace).fraction(0.1, draw=1).image_ids, other.image_ids)
