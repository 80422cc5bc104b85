"""Changed copies of texts have two words exchanged, or some deleted; the special tokens stay."""

import torch

from models.method import Tokens
from models.text.word_noise import change_words

PAD, START, END = 0, 1, 2


def test_words_are_exchanged_or_deleted():
    torch.manual_seed(0)
    ids = torch.tensor([[START, *range(10, 18), END, PAD, PAD], [START, 20, END, *[PAD] * 9]] * 200)
    tokens = Tokens(ids, ids != PAD)
    changed = change_words(tokens, PAD)
    kinds = set()
    for row in range(0, 400, 2):
        before, after = ids[row][tokens.mask[row]].tolist(), changed.ids[row][changed.mask[row]].tolist()
        assert (after[0], after[-1]) == (START, END)
        assert not changed.ids[row][~changed.mask[row]].any()
        if len(after) == len(before):
            assert sorted(after) == sorted(before)
            apart = sum(a != b for a, b in zip(before, after, strict=True))
            assert apart in (0, 2)
            kinds.add(("exchanged", apart))
        else:
            assert after == [word for word in before if word in after]
            kinds.add(("deleted", 0))
    assert {("exchanged", 2), ("deleted", 0)} <= kinds
    assert (changed.ids[1::2, :2] == torch.tensor([START, 20])).all(1).float().mean() > 0.9
