"""Views and studies: laterals in the shards change nothing for who does not ask for them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from imaging.augment import AugmentationConfig
from models.method import Method, TextSource
from models.text.tokenizer import tokenizer
from shards.reader import ShardReader
from tests.training.conftest import shard_rows, write_shards
from training.data.chosen import Studies
from training.data.pairs import PairData, training_pairs
from training.errors import TrainingError

FRONTALS = 24
BOTH = ("frontal", "lateral")


class ReadsTexts(Method):
    texts = TextSource(tokenizer("all-MiniLM-L6-v2", 32), unit="sentence")


def rows_with_laterals() -> list[dict]:
    """Two of three studies have a lateral, some of which come before their frontal image in the order of ids."""
    frontal = shard_rows(FRONTALS)
    aside = [
        {**row, "image_id": f"{'a' if place % 2 else 'z'}{place:04d}", "view": "LATERAL", "pixels": row["pixels"][::-1]}
        for place, row in enumerate(frontal)
        if place % 3
    ]
    return [*frontal, *aside]


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> dict[str, ShardReader]:
    rows = {"frontal": shard_rows(FRONTALS), "both": rows_with_laterals()}
    silent = [{**row, "view": ""} for row in rows["both"]]
    return {
        name: ShardReader(write_shards(tmp_path_factory.mktemp(name), given))
        for name, given in {**rows, "silent": silent}.items()
    }


@pytest.fixture
def read(readers, tmp_path):
    def build(name: str, **choices) -> PairData:
        flips = AugmentationConfig(horizontal_flip=0.5)
        return PairData(readers[name], "train", ReadsTexts(), flips, tmp_path / "texts.npz", name, **choices)

    return build


def test_laterals_change_no_pair_of_who_asks_for_frontal_images(read):
    alone, among = read("frontal"), read("both")
    assert len(alone) == len(among)
    assert (alone.left_out, among.left_out) == (0, sum(bool(place % 3 and place % 8 != 7) for place in range(FRONTALS)))
    chosen = np.array([3, 0, 7, 11])
    first, second = (data.pairs(chosen, np.random.default_rng(5)) for data in (alone, among))
    assert alone.image_ids(first.rows) == among.image_ids(second.rows)
    assert first.batch.images.equal(second.batch.images)
    assert first.batch.tokens.ids.equal(second.batch.tokens.ids)
    assert first.flipped.equal(second.flipped)


def test_laterals_are_pairs_with_the_report_of_their_study_when_asked_for(read, readers):
    both, lateral = read("both", views=BOTH), read("both", views=("lateral",))
    assert (len(both), both.left_out) == (len(readers["both"].kinds("train")), 0)
    assert set(lateral.image_ids(lateral.rows)) < set(both.image_ids(both.rows))
    assert all(name[0] in "az" for name in lateral.image_ids(lateral.rows))
    pairs = lateral.pairs(np.arange(len(lateral)), np.random.default_rng(0))
    of_study = read("frontal")
    numbers = {name[1:]: place for place, name in enumerate(of_study.image_ids(of_study.rows))}
    own = np.array([numbers[name[1:]] for name in lateral.image_ids(pairs.rows)])
    flat = AugmentationConfig()
    lateral.flips = of_study.flips = flat
    texts = [data.pairs(rows, np.random.default_rng(0)).batch.tokens.ids
             for data, rows in ((lateral, np.arange(len(lateral))), (of_study, own))]  # fmt: skip
    assert texts[0].equal(texts[1])


def test_a_dataset_that_says_no_view_is_frontal(read):
    assert read("silent").left_out == 0


def test_a_study_is_one_pair_and_all_its_images_have_their_turn(read):
    images, studies = read("both", views=BOTH), read("both", views=BOTH, pair="study")
    assert len(studies) == len(read("frontal"))
    assert (studies.left_out, studies.images) == (0, len(images))
    everything = np.arange(len(studies))
    table = studies.reader.columns("train", ["study_id"])["study_id"].to_numpy()
    seen: list[np.ndarray] = [studies.pairs(everything, np.random.default_rng(turn)).rows for turn in range(40)]
    for rows in seen:
        assert table[rows].tolist() == table[studies.rows].tolist()
    assert set(np.concatenate(seen).tolist()) == set(images.rows.tolist())


def test_every_image_of_a_study_is_as_likely():
    studies = Studies(np.array([4, 5, 9, 2, 7]), np.array(["b", "a", "b", "b", "a"]))
    assert (len(studies), studies.rows.tolist()) == (2, [5, 4])
    rng = np.random.default_rng(0)
    drawn = np.concatenate([studies.draw(np.array([1, 0]), rng) for _ in range(3000)])
    counts = dict(zip(*np.unique(drawn, return_counts=True), strict=True))
    assert {row: round(count / 3000, 1) for row, count in counts.items()} == {4: 0.3, 9: 0.3, 2: 0.3, 5: 0.5, 7: 0.5}


def test_images_of_two_patients_are_of_two_studies(tmp_path):
    rows = [{**row, "study_id": "1", "subject_id": f"p{place}", "split": "train"}
            for place, row in enumerate(shard_rows(4))]  # fmt: skip
    reader = ShardReader(write_shards(tmp_path, rows))
    data = PairData(reader, "train", ReadsTexts(), AugmentationConfig(), tmp_path / "texts.npz", pair="study")
    assert len(data) == 4


def test_views_that_the_shards_lack_are_said(config, readers, caplog):
    asked = replace(config, batch_size=2)
    with pytest.raises(TrainingError, match=r"asks for lateral images, of which .* has none in train; set `views` to "
                       r"frontal, or ingest others: `inventory: \{views"):  # fmt: skip
        training_pairs(replace(asked, views="lateral"), readers["frontal"], ReadsTexts())
    with caplog.at_level(logging.WARNING):
        data = training_pairs(replace(asked, views="frontal+lateral+unknown"), readers["both"], ReadsTexts())
    assert len(data) == len(readers["both"].kinds("train"))
    (sentence,) = [record.getMessage() for record in caplog.records]
    assert "no unknown images" in sentence
    caplog.clear()
    training_pairs(asked, readers["both"], ReadsTexts())
    assert not caplog.records


@pytest.mark.parametrize(("views", "named"), [("", "is empty"), ("frontal+side", "names `side`")])
def test_views_that_are_none_are_named(config, views, named):
    with pytest.raises(TrainingError, match=f"`views` {named}; give some of frontal, lateral, unknown, joined by"):
        replace(config, views=views)


def test_what_is_no_pair_is_named(config):
    with pytest.raises(TrainingError, match="`pair` is patient, but must be one of image, study"):
        replace(config, pair="patient")
