"""Batches: what a method reads of reports, flips that keep pairs true, equal shares for all processes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from imaging.augment import AugmentationConfig
from models.method import Method, TextSource
from models.text.tokenizer import tokenizer
from shards.reader import ShardReader
from shards.schema import NO_SENTENCE
from tests.training.conftest import shard_rows, write_shards
from training.data.pairs import PairData, training_pairs, validation_pairs
from training.data.targets import ReportTargets
from training.data.texts import ReportTexts, cached_texts, read_texts
from training.errors import TrainingError
from training.parallel import rows

REPORTS = [
    [("impression", "Left effusion."), ("findings", "Heart size is normal."), ("findings", "Left effusion.")],
    [("findings", "Right effusion."), ("comparison", "None.")],
    [("comparison", "Left effusion.")],
    [("findings", "Right middle lobe collapse.")],
    [],
]
SENTENCES = pa.chunked_array([[[{"section": s, "text": t} for s, t in report] for report in REPORTS]])


class ReadsTargets(Method):
    reads_targets = True


@pytest.fixture(scope="module")
def source() -> TextSource:
    return TextSource(tokenizer("all-MiniLM-L6-v2", 32), ("impression", "findings"))


def said(texts: ReportTexts, drawn: np.ndarray, source: TextSource, mirrored: np.ndarray | None = None) -> list[str]:
    mirrored = np.zeros(len(drawn), bool) if mirrored is None else mirrored
    tokens = texts.build_batch(torch.empty(len(drawn)), drawn, mirrored).tokens
    decode = source.tokenizer._tokenizer.decode
    return [decode(ids[mask], skip_special_tokens=True) for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]


def test_reports_are_their_sections_in_the_order_asked_for(source):
    texts = read_texts(SENTENCES, source, mirrored=False)
    assert texts.readable.tolist() == [True, True, False, True, False]
    drawn = texts.sample(np.array([1, 0]), np.random.default_rng(0))
    assert said(texts, drawn, source) == ["right effusion.", "left effusion. heart size is normal. left effusion."]


def test_sentences_are_drawn_uniformly(source):
    texts = read_texts(SENTENCES, replace(source, unit="sentence"), mirrored=False)
    drawn = texts.sample(np.zeros(3000, int), np.random.default_rng(0))
    counts = dict(zip(*np.unique(said(texts, drawn, source), return_counts=True), strict=True))
    assert set(counts) == {"left effusion.", "heart size is normal."}
    assert counts["left effusion."] == pytest.approx(2000, abs=100)  # it is there twice


def test_sentences_come_together_in_their_order(source):
    texts = read_texts(SENTENCES, replace(source, unit="sentences"), mirrored=True)
    rows = np.array([1, 0])
    drawn = texts.sample(rows, np.random.default_rng(0))
    assert texts.owners(drawn).tolist() == [1, 0]
    tokens = texts.build_batch(torch.empty(2), drawn, np.array([True, False])).tokens
    assert tokens.ids.shape == tokens.mask.shape == (2, 3, tokens.ids.shape[2])
    assert tokens.mask.any(2).tolist() == [[True, False, False], [True, True, True]]
    assert (tokens.ids[~tokens.mask] == source.tokenizer.pad).all()
    decode = source.tokenizer._tokenizer.decode
    read = [[decode(ids[mask], skip_special_tokens=True) for ids, mask in zip(*pair, strict=True)] for pair in
            zip(tokens.ids, tokens.mask, strict=True)]  # fmt: skip
    assert read == [["left effusion.", "", ""], ["left effusion.", "heart size is normal.", "left effusion."]]
    assert texts.can_mirror(texts.sample(np.array([0, 3]), np.random.default_rng(0))).tolist() == [True, False]


def test_sections_keep_their_places(source):
    reports = pa.chunked_array([[[{"section": "findings", "text": "Clear."}], [], SENTENCES[0].as_py()]])
    texts = read_texts(reports, replace(source, unit="sections", sections=("impression", "findings")), mirrored=False)
    assert texts.readable.tolist() == [True, False, True]
    tokens = texts.build_batch(
        torch.empty(2), texts.sample(np.array([0, 2]), np.random.default_rng(0)), np.zeros(2, bool)
    ).tokens
    assert tokens.mask.any(2).tolist() == [[False, True], [True, True]]


def test_cleaning_and_short_sentences(source):
    words = read_texts(SENTENCES, replace(source, cleaning="words", minimum_words=3), mirrored=False)
    assert words.readable.tolist() == [True, False, False, True, False]
    assert said(words, words.sample(np.array([0, 3]), np.random.default_rng(0)), source) == [
        "heart size is normal",
        "right middle lobe collapse",
    ]


def test_reports_of_few_words_are_left_out_where_that_is_asked_for(source):
    """Words count as they are cleaned, and only those of the sections and sentences that are read (MGCA: 3)."""
    source = replace(source, cleaning="words", minimum_words=2)
    readable = {
        least: read_texts(SENTENCES, replace(source, minimum_report_words=least), mirrored=True).readable.tolist()
        for least in (0, 2, 3, 5)
    }
    assert readable[0] == readable[2] == [True, True, False, True, False]
    assert readable[3] == [True, False, False, True, False]  # "Right effusion." has two words
    assert readable[5] == [True, False, False, False, False]
    signs = pa.chunked_array(
        [[[{"section": "findings", "text": "- - clear."}, {"section": "findings", "text": "Ok."}]]]
    )
    assert read_texts(signs, replace(source, minimum_report_words=1), mirrored=False).readable.tolist() == [True]
    assert read_texts(signs, replace(source, minimum_report_words=2), mirrored=False).readable.tolist() == [False]


@pytest.mark.parametrize("unit", ["report", "sentence"])
def test_a_report_without_the_sections_is_left_out_or_says_what_it_is_told_to(source, unit):
    reports = pa.chunked_array([[[{"section": "findings", "text": "Clear lungs."}], []]])
    source = replace(source, sections=("impression",), unit=unit)
    assert not read_texts(reports, source, False).readable.any()
    texts = read_texts(reports, replace(source, missing="NO IMPRESSION"), False)
    drawn = texts.sample(np.arange(2), np.random.default_rng(0))
    assert said(texts, drawn, source) == ["no impression"] * 2


def test_one_section_stands_in_for_another_that_an_archive_lacks(source):
    findings, impression = {"section": "findings", "text": "Clear lungs."}, {"section": "impression", "text": "Normal."}
    source = replace(source, sections=("impression/findings",))
    with_both = read_texts(pa.chunked_array([[[findings], [findings, impression]]]), source, False)
    assert with_both.readable.tolist() == [False, True]
    without = read_texts(pa.chunked_array([[[findings], []]]), source, False)
    assert without.readable.tolist() == [True, False]
    assert said(without, without.sample(np.zeros(1, int), np.random.default_rng(0)), source) == ["clear lungs."]


def test_mirrored_images_are_described_as_they_are(source):
    texts = read_texts(SENTENCES, source, mirrored=True)
    drawn = texts.sample(np.array([0, 1, 3]), np.random.default_rng(0))
    assert texts.can_mirror(drawn).tolist() == [True, True, False]  # there is one middle lobe
    assert said(texts, drawn[:2], source, np.array([True, True])) == [
        "right effusion. heart size is normal. right effusion.",
        "left effusion.",
    ]


def test_texts_survive_their_file(source, tmp_path):
    texts = read_texts(SENTENCES, source, mirrored=True)
    texts.save(tmp_path / "texts.npz")
    loaded = ReportTexts.load(tmp_path / "texts.npz")
    assert all(np.array_equal(getattr(loaded, name), value) for name, value in vars(texts).items())


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """A token id, with the time stamp that it had."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_another(path):
    """With a seal that fits."""
    arrays = {name: np.zeros(5, int) for name in ("ids", "starts", "owned", "sentences", "row_starts", "mirrors")}
    ReportTexts(**arrays, together=False, pad=0).save(path, "another run")


def replace_by_code(path):
    """An array of objects, which is stored as a pickle."""
    with path.open("wb") as file:
        np.savez(file, ids=np.array([SystemExit], dtype=object))


@pytest.mark.parametrize("damage", [cut, flip, replace_by_another, replace_by_code, Path.unlink, Path.touch])
def test_kept_texts_that_are_not_the_runs_own_are_made_again(source, tmp_path, damage, caplog):
    cache, table = tmp_path / "texts.npz", pa.table({"sentences": SENTENCES})
    expected = read_texts(SENTENCES, source, mirrored=False)
    for _ in range(2):
        cached_texts(cache, lambda: table, source, False, "run")
    kept = cache.read_bytes()
    cache.write_bytes(b"") if damage is Path.touch else damage(cache)
    found = cached_texts(cache, lambda: table, source, False, "run")
    assert all(np.array_equal(getattr(found, name), value) for name, value in vars(expected).items())
    assert cache.read_bytes() == kept
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (damage is not Path.unlink)
    assert all("it is made again from the shards" in sentence for sentence in said)
    again = cached_texts(cache, lambda: pytest.fail("they are kept"), source, False, "run")
    assert np.array_equal(again.ids, expected.ids)


def test_an_unknown_unit_is_named(source):
    with pytest.raises(TrainingError, match="report or sentence or sentences or sections"):
        read_texts(SENTENCES, replace(source, unit="word"), mirrored=False)


@pytest.mark.parametrize(("pairs", "said"), [(0, "has no validation pairs"), (1, "has one validation pair, which has")])
def test_what_depends_on_a_validation_loss_needs_pairs(config, tmp_path, pairs, said):
    rows = shard_rows(6)
    for number, row in enumerate(rows):
        row["split"] = "validate" if number < pairs else "train"
    config = replace(config, shards=str(write_shards(tmp_path / "shards", rows)), output=str(tmp_path))
    reader, method = ShardReader(config.shards), Method()
    method.contrasts_pairs = True
    assert len(validation_pairs(config, reader, method) or ()) == pairs
    for depends in ({"early_stop": 3}, {"schedule": "plateau"}):
        with pytest.raises(TrainingError, match=said):
            validation_pairs(replace(config, **depends), reader, method)
    method.contrasts_pairs = False
    if pairs:
        assert len(validation_pairs(replace(config, early_stop=3), reader, method) or ()) == pairs


@pytest.fixture
def data(config) -> PairData:
    return training_pairs(config, ShardReader(config.shards), ReadsTargets())


def test_pairs_with_reports_of_few_words_are_left_out_and_counted(tmp_path):
    rows = shard_rows(6)
    for row, text in zip(
        rows, ["Clear.", "No effusion.", "There is an effusion.", "", "Edema.", "Lungs are clear."], strict=True
    ):
        row["split"], row["sentences"] = "train", [{"section": "findings", "text": text}] if text else []
    reader, method = ShardReader(write_shards(tmp_path, rows)), Method()
    kept = {}
    for least in (0, 3):
        method.texts = TextSource(tokenizer("all-MiniLM-L6-v2", 32), minimum_report_words=least)
        data = PairData(reader, "train", method, AugmentationConfig(), tmp_path / f"{least}.npz")
        kept[least] = len(data), data.left_out
    assert kept == {0: (5, 1), 3: (2, 4)}


def test_pairs_without_a_triplet_are_left_out_and_counted(data, shards):
    whole = ShardReader(shards).read("train")
    assert set(data.rows) == set(whole.triplets.row)
    assert data.left_out == len(whole) - len(data) > 0


def literal_targets(reader: ShardReader, rows: np.ndarray, swap: dict[str, str]) -> np.ndarray:
    triplets, names = reader.read("train").triplets, reader.manifest.positions
    matrix = np.full((len(rows), len(names), len(reader.manifest.entities)), -1)
    for index, row in enumerate(rows):
        for entity, position, exists in zip(*(part[triplets.row == row] for part in triplets[1:4]), strict=True):
            name = swap.get(names[position], names[position])
            matrix[index, names.index(name), entity] = max(matrix[index, names.index(name), entity], exists)
    return matrix


@pytest.mark.parametrize("swap", [{}, {"left_pleural": "right_pleural", "right_pleural": "left_pleural"}])
def test_targets_are_the_triplets_in_a_matrix(shards, swap):
    reader = ShardReader(shards)
    manifest = reader.manifest
    targets = ReportTargets(reader.columns("train")["triplets"], manifest.entities, manifest.positions)
    rows = np.flatnonzero(targets.readable)[::-1]
    found = targets.build_batch(torch.empty(len(rows)), rows, np.full(len(rows), bool(swap))).targets
    assert np.array_equal(found.numpy(), literal_targets(reader, rows, swap))


@pytest.mark.parametrize(("sides", "swapped"), [("swap", True), ("paper", False)])
def test_flips_take_what_is_said_with_them(shards, tmp_path, sides, swapped):
    reader = ShardReader(shards)
    flips = AugmentationConfig(horizontal_flip=0.5, flip_sides=sides)
    data = PairData(reader, "train", ReadsTargets(), flips, tmp_path / "unused")
    pairs = data.pairs(np.arange(len(data)), np.random.default_rng(0))
    plain = data.reports.build_batch(torch.empty(len(data)), data.rows, np.zeros(len(data), bool)).targets
    (flipped,) = pairs.flipped.numpy()
    assert 0.3 < flipped.mean() < 0.7
    expected = plain.clone()
    if swapped:
        expected[flipped] = plain[flipped][:, [1, 0, 2, 3, 4]]
    assert torch.equal(pairs.batch.targets, expected)


def test_a_text_comes_with_what_its_report_and_it_say(tmp_path, source):
    studies = shard_rows(24)
    for row in studies:
        row["sentences"].append({"section": "findings", "text": "A nodule."})
        row["triplets"] = [*row["triplets"], {"entity": 1, "position": 3, "exists": 1, "sentence": 1}]
    reader, method = ShardReader(write_shards(tmp_path, studies)), ReadsTargets()
    method.texts = replace(source, unit="sentence")
    data = PairData(reader, "train", method, AugmentationConfig(), tmp_path / "texts.npz")
    whole = reader.read("train")
    chosen = np.arange(len(data))
    batch = data.pairs(chosen, np.random.default_rng(3)).batch
    sampled = data.reports.sample(data.rows[chosen], np.random.default_rng(3))
    places = sampled[:, 1:]
    assert np.array_equal(sampled[:, 0], data.rows)
    assert np.array_equal(data.reports.texts.owners(places), data.rows)
    triplets = whole.triplets
    expected = np.full(tuple(batch.text_targets.shape), -1)
    for index, (row, place) in enumerate(zip(data.rows, data.reports.texts.sentences[places[:, 0]], strict=True)):
        of_sentence = (triplets.row == row) & (triplets.sentence == place)
        for entity, position, exists in zip(*(part[of_sentence] for part in triplets[1:4]), strict=True):
            expected[index, position, entity] = max(expected[index, position, entity], exists)
    assert np.array_equal(batch.text_targets.numpy(), expected)
    assert np.array_equal(batch.targets.numpy(), literal_targets(reader, data.rows, {}))
    assert 0 < (expected != -1).sum() < (batch.targets != -1).sum()


def test_uncertain_findings_are_told_where_a_method_asks():
    fields = [("entity", pa.int16()), ("position", pa.int16()), ("exists", pa.int8()), ("sentence", pa.int16())]
    said = [(0, 0, 0), (0, 0, -1), (0, 1, -1), (0, 1, 1), (1, 0, -1), (1, 1, 0)]  # entity, position, exists
    row = [{"entity": entity, "position": place, "exists": exists, "sentence": 0} for entity, place, exists in said]
    triplets = pa.chunked_array([pa.array([row], pa.list_(pa.struct(fields)))])
    vocabulary = ("effusion", "nodule"), ("left_pleural", "right_pleural")
    plain, told = (ReportTargets(triplets, *vocabulary, *uncertain) for uncertain in ((), (-2,)))
    rows, mirrored = np.array([0]), np.array([False])
    assert plain.matrices(rows, mirrored).tolist() == [[[0, -1], [1, 0]]]
    assert told.matrices(rows, mirrored).tolist() == [[[-2, -2], [1, 0]]]


def test_triplets_of_unknown_sentences_are_refused():
    fields = [("entity", pa.int16()), ("position", pa.int16()), ("exists", pa.int8()), ("sentence", pa.int16())]
    one = {"entity": 0, "position": 0, "exists": 1, "sentence": NO_SENTENCE}
    triplets = pa.chunked_array([pa.array([[one]], pa.list_(pa.struct(fields)))])
    with pytest.raises(TrainingError, match="RadGraph file"):
        ReportTargets(triplets, ("effusion",), ("left_pleural",)).expect_sentences()


def test_images_alone_are_seen_twice(shards, tmp_path):
    reader, method = ShardReader(shards), Method()
    method.two_views = True
    data = PairData(reader, "train", method, AugmentationConfig(horizontal_flip=0.5), tmp_path / "unused")
    assert len(data) == len(reader.read("train"))
    pairs = data.pairs(np.arange(len(data)), np.random.default_rng(0))
    first, second = pairs.flipped.numpy()
    assert 0.3 < (first != second).mean() < 0.7
    assert pairs.batch.tokens is pairs.batch.targets is None


def test_an_image_that_cannot_be_mirrored_is_not_flipped(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(ReportTargets, "can_mirror", lambda self, rows: rows % 2 == 0)
    flips = AugmentationConfig(horizontal_flip=1.0)
    data = PairData(ShardReader(shards), "train", ReadsTargets(), flips, tmp_path / "unused")
    flipped = data.pairs(np.arange(20), np.random.default_rng(0)).flipped
    assert np.array_equal(flipped.numpy(), data.rows[None, :20] % 2 == 0)


@pytest.mark.parametrize(("parts", "shares"), [(1, ([0, 1, 2, 3], [4, 5, 6, 7])), (2, ([0, 1, 4, 5], [2, 3, 6, 7]))])
def test_processes_share_every_part_of_a_batch(data, monkeypatch, parts, shares):
    chosen = np.random.default_rng(1).permutation(len(data))[:8]
    whole = data.pairs(chosen, np.random.default_rng(0)).batch
    monkeypatch.setattr(rows, "world_size", lambda: 2)
    for process, own in enumerate(shares):
        monkeypatch.setattr(rows, "rank", lambda process=process: process)
        part = data.pairs(chosen, np.random.default_rng(0), parts=parts).batch
        assert torch.equal(part.images, whole.images[own])
        assert torch.equal(part.targets, whole.targets[own])
