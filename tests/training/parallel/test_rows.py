"""Whatever process and part a row is in, it gets the random numbers that it has where one process has all rows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from training.parallel import rows
from training.parallel.rows import RowNoise, own_rows, row_noise, whole_batch

WHOLE = 8
ATTENTION = nn.MultiheadAttention(4, 2, dropout=0.3, batch_first=True).train()


@pytest.fixture
def process(monkeypatch):
    """Takes the place of one of several processes."""

    def become(rank, of=2):
        monkeypatch.setattr(rows, "rank", lambda: rank)
        monkeypatch.setattr(rows, "world_size", lambda: of)

    return become


@pytest.mark.parametrize(("of", "parts"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 2)])
def test_every_part_has_the_rows_of_one_process_in_their_order(process, of, parts, monkeypatch):
    brought = []
    for rank in range(of):
        process(rank, of)
        brought.append(own_rows(12, parts).reshape(parts, -1))
    for part in range(parts):
        each = 12 // parts
        together = np.concatenate([rows_of[part] for rows_of in brought])
        assert together.tolist() == list(range(part * each, (part + 1) * each))
    monkeypatch.setattr(rows, "gather", lambda tensor: torch.cat([torch.from_numpy(part.ravel()) for part in brought]))
    assert whole_batch(torch.from_numpy(brought[0].ravel()), 12, parts).tolist() == list(range(12))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_what_cannot_be_divided_is_filled_up_and_cut_off_again(process, count, monkeypatch):
    shares = []
    for rank in range(2):
        process(rank)
        shares.append(torch.from_numpy(own_rows(count)))
    assert len(shares[0]) == len(shares[1])
    monkeypatch.setattr(rows, "gather", lambda tensor: torch.cat(shares))
    assert whole_batch(shares[0], count).tolist() == list(range(count))


DRAWS = {
    "dropout": lambda x: F.dropout(x, 0.3),
    "dropout of a transposed tensor": lambda x: F.dropout(x.transpose(0, 1).contiguous().transpose(0, 1), 0.3),
    "dropout of channels": lambda x: F.dropout1d(x, 0.3),
    "alpha dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "drop path": DropPath(0.5).train(),
    "attention": lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=0.3),
    "attention with weights": lambda x: ATTENTION(x, x, x)[0],
    "attention without weights": lambda x: ATTENTION(x, x, x, need_weights=False)[0],
    "rows times heads": lambda x: F.dropout(x.view(-1, 3, 4), 0.3),
    "half precision": lambda x: F.dropout(x.bfloat16(), 0.3),
    "rand": lambda x: torch.rand(len(x)),
    "rand of a generator": lambda x: torch.rand(len(x), generator=torch.default_generator),
    "randint": lambda x: torch.randint(7, (len(x), 3)),
    "randint from": lambda x: torch.randint(2, 7, (len(x),)),
    "randn": lambda x: torch.randn(len(x), 33),
    "rand_like": torch.rand_like,
    "normal": lambda x: torch.normal(0.0, 1.0, (len(x), 2)),
    "uniform": lambda x: torch.empty(len(x), 3).uniform_(),
}


@pytest.mark.parametrize("own", [[4, 5, 6, 7], [1, 3, 4, 7], [2, 6]], ids=str)
@pytest.mark.parametrize("draw", DRAWS)
def test_rows_get_the_random_numbers_of_one_process(draw, own):
    torch.manual_seed(0)
    x = torch.randn(WHOLE, 6, 4)
    expected = DRAWS[draw](x).unflatten(0, (WHOLE, -1))[own].flatten(0, 1)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    torch.randn(WHOLE, 6, 4)
    with RowNoise(WHOLE, torch.tensor(own)):
        found = DRAWS[draw](x[own])
    torch.testing.assert_close(found, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_gradients_see_the_same_dropout():
    x, own = torch.randn(WHOLE, 5, requires_grad=True), torch.arange(4, 8)
    torch.manual_seed(1)
    expected = torch.autograd.grad(F.dropout(x, 0.3).square()[4:].sum(), x)[0]
    torch.manual_seed(1)
    with RowNoise(WHOLE, own):
        found = F.dropout(x[own], 0.3)
    assert torch.equal(torch.autograd.grad(found.square().sum(), x)[0], expected)


def test_what_is_not_of_rows_is_drawn_as_it_is():
    torch.manual_seed(2)
    expected = torch.rand(3), torch.rand(()), torch.empty(2, 4).normal_(), torch.multinomial(torch.ones(8, 9), 2)
    torch.manual_seed(2)
    with RowNoise(WHOLE, torch.arange(4)):
        found = torch.rand(3), torch.rand(()), torch.empty(2, 4).normal_(), torch.multinomial(torch.ones(8, 9), 2)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_one_process_draws_as_ever(process):
    process(0, 1)
    assert not isinstance(row_noise(WHOLE), RowNoise)
    process(1)
    assert row_noise(WHOLE).own.tolist() == [4, 5, 6, 7]
