"""An image whose report has findings but no sentence to read borrows a sentence that shares one of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from imaging.augment import AugmentationConfig
from models.method import Method, TextSource
from models.text.tokenizer import WordPieceTokenizer
from shards.reader import ShardReader
from tests.training.conftest import shard_rows, write_shards
from training.data.pairs import PairData
from training.data.unpaired import draw_sentence, draw_table

SILENT = slice(3, 6)


class Reads(Method):
    """A method of sentences and findings."""

    reads_targets = True

    def __init__(self, unpaired):
        super().__init__()
        pieces = WordPieceTokenizer("all-MiniLM-L6-v2", 32)
        self.texts = TextSource(pieces, ("findings",), "sentence", unpaired=unpaired)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Reports of one sentence and one finding each; a few have findings alone."""
    rows = shard_rows(24)
    for index, row in enumerate(rows):
        row["sentences"] = [{"section": "findings", "text": f"Finding {index % 5}."}]
        row["triplets"] = [{"entity": index % 2, "position": 0, "exists": int(index % 5 > 0), "sentence": 0}]
    for row in rows[SILENT]:
        row["sentences"] = []
        row["triplets"] = [{**row["triplets"][0], "sentence": 0}]
    return ShardReader(write_shards(tmp_path_factory.mktemp("unpaired"), rows))


def pairs(reader, tmp_path, unpaired=True, flips=None):
    return PairData(reader, "train", Reads(unpaired), flips or AugmentationConfig(), tmp_path / f"{unpaired}.npz")


def test_silent_reports_are_read_only_where_they_may_borrow(reader, tmp_path):
    with_borrowed, without = pairs(reader, tmp_path), pairs(reader, tmp_path, unpaired=False)
    silent = set(with_borrowed.rows) - set(without.rows)
    assert silent
    assert without.left_out == len(silent)
    assert with_borrowed.left_out == 0


def test_where_no_report_has_a_sentence_there_is_none_to_borrow(reader, tmp_path):
    method = Reads(True)
    method.texts = replace(method.texts, sections=("impression",))
    data = PairData(reader, "train", method, AugmentationConfig(), tmp_path / "none.npz")
    assert len(data) == 0
    assert data.left_out == len(pairs(reader, tmp_path))


def test_a_borrowed_sentence_shares_a_finding(reader, tmp_path):
    data, own = pairs(reader, tmp_path), pairs(reader, tmp_path, unpaired=False)
    borrowing = np.flatnonzero(~np.isin(data.rows, own.rows))
    shared = 0
    for seed in range(20):
        batch = data.pairs(borrowing, np.random.default_rng(seed)).batch
        image, text = ((targets == 1).any(1) for targets in (batch.targets, batch.text_targets))
        found = (image & text).any(1)
        assert torch.equal(found, image.any(1))  # else a sentence without a finding
        assert not text[~image.any(1)].any()
        shared += int(found.sum())
    assert shared
    assert batch.tokens.mask.any(1).all()


def test_reports_with_a_sentence_keep_their_own(reader, tmp_path):
    data, own = pairs(reader, tmp_path), pairs(reader, tmp_path, unpaired=False)
    chosen = np.flatnonzero(np.isin(data.rows, own.rows))
    found, expected = (
        data.pairs(chosen, np.random.default_rng(0)),
        own.pairs(np.arange(len(own)), np.random.default_rng(0)),
    )
    for name in ("targets", "text_targets"):
        assert torch.equal(getattr(found.batch, name), getattr(expected.batch, name))
    assert torch.equal(found.batch.tokens.ids, expected.batch.tokens.ids)


def test_the_table_has_each_label_as_often_as_it_can():
    labels = np.zeros((1000, 3), np.int8)
    labels[:990, 0], labels[990:, 1], labels[995:, 2] = 1, 1, -1
    table = draw_table(labels, 20, np.random.default_rng(0))
    assert (labels[table] == 1).sum(0).tolist() == [20, 10, 0]
    assert len(set(table.tolist())) == len(table) == 30


@pytest.mark.parametrize(
    ("image", "drawn"), [([0, 1, 0], {1}), ([0, 0, -1], {2}), ([1, 0, 0], {0}), ([0, 0, 0], {0, 3}), ([0, 0, 1], {0})]
)
def test_what_is_drawn_for_an_image(image, drawn):
    labels, table = np.array([[1, 0, 0], [0, 1, 0], [0, 0, -1], [1, 0, 0]]), np.array([0, 1, 2])
    numbers = np.random.default_rng(0)
    assert {draw_sentence(np.array(image), labels, table, numbers) for _ in range(20)} == drawn
    assert draw_sentence(np.array([0, 0, 1]), labels, np.array([1]), numbers) == 1
