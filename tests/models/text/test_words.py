import pytest
import torch

from models.text.words import aggregate, aggregate_shifted, word_index

VOCABULARY = ["[PAD]", "[CLS]", "[SEP]", "no", "effusion", "cardio", "##meg", "##aly"]
CONTINUES = torch.tensor([word.startswith("##") for word in VOCABULARY])


def random_reports(seed, batch=6, length=11):
    """Ids and mask of reports of different lengths, the first as long as there is room."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, length + 1, (batch,), generator=generator)
    lengths[0] = length
    ids = torch.randint(3, len(VOCABULARY), (batch, length), generator=generator)
    positions = torch.arange(length)
    ids[:, 0] = 1
    ids[positions == lengths[:, None] - 1] = 2
    mask = positions < lengths[:, None]
    return torch.where(mask, ids, 0), mask


def literal(features, ids, mask):
    """One report, token by token."""
    words = []
    for feature, token, there in zip(features, ids.tolist(), mask.tolist(), strict=True):
        if not there:
            break
        if VOCABULARY[token].startswith("##"):
            words[-1] = words[-1] + feature
        else:
            words.append(feature)
    return words


@pytest.mark.parametrize("seed", range(3))
def test_words_are_the_sums_of_their_pieces(seed):
    ids, mask = random_reports(seed)
    ids[1, 1] = 6  # a piece right behind [CLS]
    features = torch.randn(*ids.shape, 4, dtype=torch.float64)
    words, present = aggregate(features, ids, CONTINUES, mask)
    for row in range(len(ids)):
        expected = literal(features[row], ids[row], mask[row])
        assert present[row].tolist() == [position < len(expected) for position in range(ids.shape[1])]
        torch.testing.assert_close(words[row, : len(expected)], torch.stack(expected), rtol=1e-10, atol=0)
        assert (words[row, len(expected) :] == 0).all()


def test_a_word_index_grows_by_one_at_each_word():
    ids = torch.tensor([[1, 3, 5, 6, 7, 4, 2, 0]])
    assert word_index(ids, CONTINUES).tolist() == [[0, 1, 2, 2, 2, 3, 4, 5]]


def test_padding_is_not_summed_even_when_it_is_not_finite():
    ids, mask = random_reports(0)
    features = torch.where(mask[..., None], torch.randn(*ids.shape, 2), torch.nan).requires_grad_()
    words, _ = aggregate(features, ids, CONTINUES, mask)
    words.sum().backward()
    assert words.isfinite().all()
    assert torch.equal(features.grad, mask[..., None].expand_as(features).float())


def test_gradients():
    ids, mask = random_reports(1, batch=2, length=5)
    features = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: aggregate(value, ids, CONTINUES, mask)[0], features)


def test_the_authors_weights_are_those_of_the_next_token_and_a_full_report_loses_its_end():
    ids = torch.tensor([[1, 5, 6, 7, 2, 0], [1, 3, 4, 3, 4, 2]])
    attention = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]], dtype=torch.float64)
    features = torch.ones(2, 6, 1, dtype=torch.float64)
    words, weights, present = aggregate_shifted(features, attention, ids, CONTINUES, ids > 0, maximum=6)
    torch.testing.assert_close(weights[0], torch.tensor([0.2, 1.2, 0, 0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(weights[1], torch.tensor([0.2, 0.3, 0.4, 0.5, 0, 0], dtype=torch.float64))
    assert present.sum(1).tolist() == [3, 4]
    assert words[1, :, 0].tolist() == [1, 1, 1, 1, 0, 0]
    _, _, present = aggregate_shifted(features, attention, ids, CONTINUES, ids > 0, maximum=7)
    assert present.sum(1).tolist() == [3, 6]
