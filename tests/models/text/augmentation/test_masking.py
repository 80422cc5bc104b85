"""Which tokens are hidden, and what stands in their place."""

import pytest
import torch

from models.method import Tokens
from models.text.augmentation.masking import Masking
from models.text.tokenizer import WordPieceTokenizer

TEXTS = ["no cardiomegaly", "small left pleural effusion and cardiomegaly", "clear"]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer("all-MiniLM-L6-v2", 64)


def draws(tokens, chosen, kind=0.0, other=0.5):
    full = torch.full(tokens.ids.shape, float(chosen))
    return torch.stack([full, torch.full_like(full, kind), torch.full_like(full, other)], -1)


def test_no_special_token_and_no_padding_is_hidden(tokenizer):
    tokens = tokenizer(TEXTS)
    masked = Masking(tokenizer)(tokens, draws(tokens, 0.0))
    lengths = tokens.mask.sum(1)
    expected = torch.zeros_like(tokens.mask)
    for row, length in enumerate(lengths):
        expected[row, 1 : length - 1] = True
    assert masked.hidden.equal(expected)
    assert masked.tokens.ids.equal(torch.where(expected, tokenizer.mask, tokens.ids))
    assert masked.tokens.mask.equal(tokens.mask)


@pytest.mark.parametrize(("kind", "said"), [(0.79, "[MASK]"), (0.85, "another"), (0.95, "itself")])
def test_what_stands_there(tokenizer, kind, said):
    tokens = tokenizer(TEXTS[:1])
    masked = Masking(tokenizer)(tokens, draws(tokens, 0.0, kind, 0.5))
    stands = {"[MASK]": tokenizer.mask, "another": tokenizer.vocabulary // 2, "itself": int(tokens.ids[0, 1])}
    assert masked.hidden[0, 1]
    assert masked.tokens.ids[0, 1] == stands[said]


def test_words_are_hidden_whole(tokenizer):
    tokens = tokenizer(TEXTS)
    torch.manual_seed(0)
    seen = {True: set(), False: set()}
    for whole in seen:
        masking = Masking(tokenizer, 0.5, whole_words=whole)
        for _ in range(40):
            hidden = masking(tokens, masking.draw(tokens, training=True)).hidden
            pieces = tokenizer.continues[tokens.ids[0]].nonzero()[:, 0].tolist()
            seen[whole] |= {tuple(hidden[0, [pieces[0] - 1, *pieces]].tolist())}
    assert seen[True] == {(True,) * (len(pieces) + 1), (False,) * (len(pieces) + 1)}
    assert len(seen[False]) > 2


def test_shares(tokenizer):
    tokens = Tokens(torch.full((200, 100), 2000), torch.ones(200, 100, dtype=torch.bool))
    torch.manual_seed(0)
    masking = Masking(tokenizer, 0.15, whole_words=False)
    masked = masking(tokens, masking.draw(tokens, training=True))
    assert masked.hidden.float().mean().item() == pytest.approx(0.15, abs=0.01)
    ids = masked.tokens.ids[masked.hidden]
    assert (ids == tokenizer.mask).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert (ids == 2000).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert (masked.tokens.ids[~masked.hidden] == 2000).all()


def test_outside_training_the_same_is_hidden_for_every_row_and_length(tokenizer):
    masking = Masking(tokenizer)
    short, long = (torch.zeros(3, 2, length, dtype=torch.int64) for length in (5, 9))
    found = [masking.draw(Tokens(ids, ids.bool()), training=False) for ids in (short, long)]
    assert found[0].equal(found[1][:, :, :5])
    assert found[0][0].equal(found[0][2])
    assert not found[0][:, 0].equal(found[0][:, 1])
