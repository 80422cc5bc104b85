"""What evaluation reads of a cohort: labels as the facts decide them, regions where they are on the square."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cohorts.dataset import Dataset
from cohorts.labels import CHEXPERT_5, label_maps
from cohorts.registry import dataset
from cohorts.subsets import FRACTIONS, subset_table
from cohorts.tables import STUDIES
from evaluation.dataset import EvaluationDataset, knowledge, observation_labels
from evaluation.errors import EvaluationError
from imaging.letterbox import letterbox_box, letterbox_mask
from ingestion.tables.regions import update_regions
from shards.schema import shard_schema
from shards.writer import write_manifest, write_shard
from store.seals import write_sealed_table

SIZE = 16
OPACITY = "Opacity"
OWN = Dataset("phantom")
REGIONS = replace(OWN, regions=(OPACITY,))
WIDE, TALL = (40, 80), (90, 60)  # heights and widths of images


def box(x, y, width, height, label=OPACITY):
    return {"label": label, "x": x, "y": y, "width": width, "height": height}


def rectangle(x, y, width, height, label=OPACITY):
    """The same region, as an outline."""
    return {"label": label, "kind": "rectangle", "points": [x, y, x + width, y + height]}


def image(index, shape=WIDE, split="test", subject=None, labels=(), **said):
    height, width = shape
    return {
        **dict.fromkeys(STUDIES.names),
        **{"cohort": "phantom", "image_id": f"i{index}", "study_id": f"s{index}", "subject_id": subject or f"p{index}"},
        **{"split": split, "view": "PA", "image_path": "a.png", "height": height, "width": width, "text": ""},
        **{"pixels": bytes([index]) * SIZE**2, "sentences": [], "triplets": [], "labels": list(labels), **said},
    }


@pytest.fixture
def build(workspace):
    """Writes images as studies, subsets and shards."""

    def write(*rows, facts=OWN, decoding=None):
        studies = pa.Table.from_pylist([{name: row.get(name) for name in STUDIES.names} for row in rows], STUDIES)
        write_sealed_table(studies, workspace.folder("studies") / "studies.parquet")
        write_sealed_table(subset_table(studies), workspace.folder("subsets") / "subsets.parquet")
        schema, folder = shard_schema(SIZE), workspace.folder("shards")
        folder.mkdir(parents=True)
        shard = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema)
        write_shard(shard, folder / "a.parquet")
        write_manifest(folder, [folder / "a.parquet"], [], [], SIZE, "phantom", decoding)
        update_regions(workspace)
        return EvaluationDataset(workspace, facts)

    return write


def test_boxes_lie_where_the_letterbox_puts_them(build):
    drawn = [(10, 5, 30, 20), (0, 0, 80, 40)], [], [(30, 45, 30, 45)]
    data = build(
        image(0, WIDE, boxes=[*(box(*one) for one in drawn[0]), box(1, 1, 2, 2, "Mass")]),
        image(1, WIDE),
        image(2, TALL, boxes=[box(*one) for one in drawn[2]]),
        facts=REGIONS,
    )
    found = data.boxes(data.images("test"))
    for boxes, own, shape in zip(found, drawn, (WIDE, WIDE, TALL), strict=True):
        assert (boxes.shape, boxes.dtype) == ((len(own), 4), np.float32)
        for corners, one in zip(boxes, own, strict=True):
            x, y, width, height = letterbox_box(one, *shape, SIZE)
            np.testing.assert_allclose(corners, [x, y, x + width, y + height], rtol=1e-6)
    np.testing.assert_array_equal(found[0][1], [0, 4, 16, 12])  # a wide image fills the middle half of its square


def test_boxes_and_masks_lie_on_squashed_images_where_these_were_stretched(build):
    place = (10, 5, 30, 20)
    row = image(0, WIDE, boxes=[box(*place)], shapes=[rectangle(*place)], labels=[(OPACITY, 1)])
    data = build(row, facts=REGIONS, decoding={"squash": True})
    (boxes,) = data.boxes(data.images("test"))
    across, down = SIZE / WIDE[1], SIZE / WIDE[0]
    np.testing.assert_allclose(boxes, [[10 * across, 5 * down, 40 * across, 25 * down]], rtol=1e-6)
    (mask,) = data.joined_masks(data.images("test"))
    expected = np.zeros(WIDE, bool)
    expected[5:25, 10:40] = True
    np.testing.assert_array_equal(mask, letterbox_mask(expected, SIZE, squash=True))
    assert not np.array_equal(mask, letterbox_mask(expected, SIZE))


def test_boxes_and_masks_follow_the_chosen_images(build):
    places = [(10 * index, 0, 10, 40) for index in range(4)]
    rows = [
        image(index, boxes=[box(*place)], shapes=[rectangle(*place)], labels=[(OPACITY, 1)])
        for index, place in enumerate(places)
    ]
    data = build(*rows, facts=REGIONS)
    every = data.images("test")
    chosen = every.select(np.array([3, 1]))
    np.testing.assert_array_equal(data.boxes(chosen), np.array(data.boxes(every))[[3, 1]])
    np.testing.assert_array_equal(data.joined_masks(chosen), data.joined_masks(every)[[3, 1]])
    np.testing.assert_array_equal(chosen.pixels[:2].max((1, 2)), [3, 1])
    assert data.joined_masks(chosen)[0].any()


def test_masks_of_all_regions_are_joined(build):
    left, right = (0, 0, 20, 40), (60, 0, 20, 40)
    labels = [("Fluid", 1), ("Air", 1)]
    data = build(
        image(0, shapes=[rectangle(*left, "Fluid"), rectangle(*right, "Air")], labels=labels),
        image(1, shapes=[rectangle(*left, "Fluid"), rectangle(*right, "Mass")], labels=labels),
        image(2, labels=[("Fluid", 0)]),
        facts=replace(OWN, regions=("Fluid", "Air")),
    )
    expected = np.zeros((3, *WIDE), bool)
    expected[:2, :, :20] = True
    expected[0, :, 60:] = True
    squares = np.stack([letterbox_mask(mask, SIZE) for mask in expected])
    masks = data.joined_masks(data.images("test"))
    np.testing.assert_array_equal(masks, squares)
    assert masks.sum((1, 2)).tolist() == [64, 32, 0]


def test_there_are_no_masks_of_no_images(build):
    data = build(image(0), facts=REGIONS)
    assert data.joined_masks(data.images("train")).shape == (0, SIZE, SIZE)
    assert data.boxes(data.images("train")) == []


def test_uncertain_labels_of_chexpert_are_decided_in_train_only(build):
    uncertain = [(name, -1) for name in CHEXPERT_5]
    data = build(
        image(0, split="train", labels=uncertain),
        image(1, split="train", labels=[("Edema", 0), ("Atelectasis", 1)]),
        image(2, split="test", labels=uncertain),
        image(3, split="test", labels=[("Edema", 1)]),
        facts=dataset("chexpert"),
    )
    train, test = (data.label_values(data.images(split), CHEXPERT_5) for split in ("train", "test"))
    np.testing.assert_array_equal(train, [[1, 0, 0, 1, 1], [1, 0, 0, 0, 0]])  # Atelectasis ... Pleural Effusion
    np.testing.assert_array_equal(test, [[np.nan] * 5, [0, 0, 0, 1, 0]])  # silence is absence, doubt is not


def test_what_other_cohorts_are_silent_about_stays_unknown(build):
    data = build(image(0, labels=[("Edema", -1)]), image(1, split="train", labels=[("Edema", -1), ("Mass", 1)]))
    np.testing.assert_array_equal(data.label_values(data.images("test"), ["Edema", "Mass"]), [[np.nan, np.nan]])
    np.testing.assert_array_equal(data.label_values(data.images("train"), ["Edema", "Mass"]), [[np.nan, 1]])


def test_the_truth_has_the_labels_of_the_facts(build):
    data = build(image(0, labels=[("Edema", 1)]), facts=dataset("chexpert"))
    names = ["Edema", "Atelectasis"]
    np.testing.assert_array_equal(data.label_values(data.images("test"), names), [[1, 0]])


def test_unseen_findings_are_described_to_methods_that_read_entities(build):
    data = build(image(0), facts=dataset("covidx"))
    assert data.query_texts("label") == ["COVID-19", "pneumonia", "normal"]
    covid, *known = data.query_texts("entity")
    assert known == ["pneumonia", "normal"]
    assert covid == knowledge().describe(knowledge().lookup("COVID-19").name)
    assert len(covid.split()) > 10


def test_a_label_is_queried_in_the_words_of_the_facts(build):
    data = build(image(0), facts=dataset("covid_rural"))
    assert list(data.queries.items()) == [(dataset("covid_rural").regions[0], "COVID-19")]
    assert data.query_texts("label") == ["COVID-19"]


def test_fractions_are_of_patients_nested_and_other_ones_in_every_repeat(build):
    rows = [image(index, split="train", subject=f"p{index // 2}") for index in range(200)]
    data = build(*rows, image(200, split="test"))
    found = {share: set(data.fraction(share).subjects) for share in FRACTIONS}
    assert found[0.01] < found[0.1] < found[1.0] == set(data.images("train").subjects)
    for share in FRACTIONS:
        assert len(data.fraction(share)) == 2 * len(found[share])  # all images of a patient
    assert 5 <= len(found[0.1]) <= 15
    other = data.fraction(0.1, repeat=1)
    assert set(other.subjects) != found[0.1]
    np.testing.assert_array_equal(EvaluationDataset(data.workspace).fraction(0.1, repeat=1).image_ids, other.image_ids)


def test_labels_of_any_data_set_find_their_observation(workspace):
    names = ["Pleural Effusion", "Infiltration", "No Finding", "Support Devices", "effusion", "COVID-19", "Left hip"]
    row = {name: "x" for name in ("cohort", "subject_id", "study_id", "image_id", "image_path", "view", "split")}
    table = pa.Table.from_pylist([row], schema=STUDIES)
    labels = label_maps(names, np.ones((1, len(names)), np.float32))
    table = table.set_column(table.column_names.index("labels"), STUDIES.field("labels"), labels)
    write_sealed_table(table, workspace.folder("studies") / "studies.parquet")
    assert observation_labels(workspace) == {
        "Infiltration": "infiltrate",
        "No Finding": "normal",
        "Pleural Effusion": "effusion",
        "Support Devices": "device",
        "effusion": "effusion",
    }


def test_labels_are_in_the_order_asked_for(build):
    data = build(
        image(0, labels=[("effusion", 1), ("nodule", 1), ("edema", 0)]),
        image(1),
        image(2, labels=[("effusion", -1), ("nodule", 0)]),
    )
    images, nan = data.images("test").select(np.array([2, 0, 1])), np.nan
    assert list(images.subjects) == ["p2", "p0", "p1"]
    values = data.label_values(images, ["effusion", "nodule", "edema"])
    np.testing.assert_array_equal(values, [[nan, 0, nan], [1, 1, 0], [nan, nan, nan]])


def test_an_image_that_the_studies_do_not_have_is_named(build):
    data = build(image(0), image(1), facts=REGIONS)
    path = data.workspace.folder("studies") / "studies.parquet"
    write_sealed_table(pq.read_table(path).slice(1), path)
    update_regions(data.workspace)
    with pytest.raises(EvaluationError, match=r"Image i0 is not in studies\.parquet; rebuild the shards from it"):
        data.masks("test", [OPACITY])


def test_regions_are_read_from_the_archive_once(build, monkeypatch):
    data = build(image(0, shapes=[rectangle(0, 0, 40, 40)], labels=[(OPACITY, 1)]), facts=REGIONS)
    digest = data.regions_digest()
    monkeypatch.setattr(
        "ingestion.tables.regions.make_regions", lambda *given: pytest.fail("the regions were made again")
    )
    update_regions(data.workspace)
    assert data.regions_digest() == digest
    assert data.masks("test", [OPACITY]).pixels.any()


def test_other_boxes_are_another_digest(build):
    data = build(image(0, boxes=[box(1, 1, 5, 5)]), facts=REGIONS)
    digest = data.regions_digest()
    path = data.workspace.folder("studies") / "studies.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["boxes"][0]["x"] += 1
    write_sealed_table(pa.Table.from_pylist(rows, STUDIES), path)
    update_regions(data.workspace)
    assert data.regions_digest() != digest
