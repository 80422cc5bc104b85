"""Cross-entropy over all words of a batch, and the penalty of uneven attention, against literal loops."""

import math

import pytest
import torch

from models.losses.language.coverage import uncovered
from models.losses.language.word_entropy import chosen_entropies, mean_over_words


def words(texts=3, length=5, vocabulary=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(texts, length, vocabulary, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, vocabulary, (texts, length), generator=generator)
    return logits, targets, torch.arange(length) < torch.tensor([[length], [2], [0]])[:texts]


def test_the_mean_is_one_over_all_words():
    logits, targets, mask = words()
    losses = []
    for text in range(3):
        for place in range(5):
            if mask[text, place]:
                scores = logits[text, place].tolist()
                total = math.log(sum(math.exp(score) for score in scores))
                losses.append(total - scores[targets[text, place]])
    assert len(losses) == 7
    sums, counts = chosen_entropies(logits[mask], targets[mask], mask)
    assert counts.tolist() == [5, 2, 0]
    assert mean_over_words(sums, counts).item() == pytest.approx(sum(losses) / 7, abs=1e-12)
    assert mean_over_words(sums, counts).item() != pytest.approx((sums / counts.clamp_min(1)).mean().item(), abs=1e-3)


def test_no_words_lose_nothing():
    logits, targets, mask = words()
    none = torch.zeros_like(mask)
    assert mean_over_words(*chosen_entropies(logits[none], targets[none], none)) == 0


def test_padding_has_no_gradient():
    logits, targets, mask = words()
    logits.requires_grad_()
    mean_over_words(*chosen_entropies(logits[mask], targets[mask], mask)).backward()
    assert (logits.grad.abs().sum(2) > 0).equal(mask)


def test_attention_should_cover_the_image():
    attention = torch.rand(2, 3, 4, dtype=torch.float64).softmax(-1)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    expected = []
    for text in range(2):
        cells = []
        for cell in range(4):
            seen = sum(float(attention[text, word, cell]) for word in range(3) if mask[text, word])
            cells.append((1 - seen) ** 2)
        expected.append(sum(cells) / 4)
    assert uncovered(attention, mask).tolist() == pytest.approx(expected, abs=1e-12)
    even = torch.full((1, 4, 4), 0.25)
    assert uncovered(even, torch.ones(1, 4, dtype=torch.bool)).item() == pytest.approx(0)


def test_gradients():
    logits, targets, mask = words(2)
    logits.requires_grad_()
    torch.autograd.gradcheck(lambda given: mean_over_words(*chosen_entropies(given[mask], targets[mask], mask)), logits)
    attention = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda given: uncovered(given, mask[:, :3]), attention)
