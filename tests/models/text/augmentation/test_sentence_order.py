"""Sentences in another order, against lists of lists."""

import pytest
import torch

from models.text.augmentation.sentence_order import LAST, reorder_sentences, sentence_ends, shuffle_text
from models.text.tokenizer import WordPieceTokenizer

TEXTS = ["the heart is large . no effusion . lungs are clear .", "clear .", "a nodule of 3.5 cm . no edema"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer("all-MiniLM-L6-v2", 64)


def sentences(ids, tokenizer):
    """Lists of ids between the special tokens; a full stop before a digit ends none."""
    inner, found = ids[1:-1], [[]]
    for place, token in enumerate(inner):
        found[-1].append(token)
        following = tokenizer.pieces[inner[place + 1]] if place + 1 < len(inner) else ""
        if tokenizer.pieces[token] == "." and following and not following[0].isdigit():
            found.append([])
    return found


def test_sentences_stand_in_the_order_of_their_draws(tokenizer):
    tokens = tokenizer(TEXTS)
    generator = torch.Generator().manual_seed(3)
    orders = set()
    for _ in range(10):
        draws = torch.rand(tokens.ids.shape, generator=generator)
        shuffled = shuffle_text(tokens, sentence_ends(tokenizer), draws)
        assert shuffled.mask.equal(tokens.mask)
        for row, length in enumerate(tokens.mask.sum(1).tolist()):
            ids = tokens.ids[row, :length].tolist()
            parts = sentences(ids, tokenizer)
            order = sorted(range(len(parts)), key=lambda part, row=row: float(draws[row, part]))
            expected = [ids[0], *(token for part in order for token in parts[part]), ids[-1]]
            assert shuffled.ids[row, :length].tolist() == expected
            assert (shuffled.ids[row, length:] == tokenizer.pad).all()
            orders.add((row, tuple(order)))
    assert len({order for row, order in orders if row == 0}) > 3
    assert len({order for row, order in orders if row == 2}) == 2  # 3.5 is no end


def test_several_texts_of_a_report_are_shuffled_by_themselves(tokenizer):
    tokens = tokenizer(TEXTS)
    draws = torch.rand(tokens.ids.shape, generator=torch.Generator().manual_seed(0))
    alone = shuffle_text(tokens, sentence_ends(tokenizer), draws)
    together = shuffle_text(tokens.apply(lambda tensor: tensor[None]), sentence_ends(tokenizer), draws[None])
    assert together.ids[0].equal(alone.ids)


def test_sentences_of_their_own_are_reordered_and_left_out(tokenizer):
    tokens = tokenizer(["one", "two words", "three words here", "four", "five"]).apply(lambda tensor: tensor[None])
    chosen = reorder_sentences(tokens, torch.tensor([[0.4, LAST, 0.1, 0.9, 0.2]]))
    texts = [tokenizer.decode(row[1:].tolist()) for row in chosen.ids[0][chosen.mask[0].any(1)]]
    assert texts == ["three words here", "five", "one", "four"]
    assert chosen.mask[0].sum(1).tolist() == [5, 3, 3, 3, 0]
