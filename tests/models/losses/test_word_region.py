"""Word-region similarity equals a literal loop of its equations."""

import math

import pytest
import torch

from models.losses import word_region
from models.losses.info_nce import matched_pairs
from models.losses.word_region import WordRegionSimilarity

VARIANTS = [
    (attention, aggregation) for attention in ("regions", "words_regions") for aggregation in ("sum", "mean", "max")
]


def softmax(scores):
    exponentials = [math.exp(score) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def literal_attention(regions, words, attention, temperature):
    """(words, regions) of one image and one text."""
    scores = [[dot(word, region) for region in regions] for word in words]
    if attention == "words_regions":
        columns = [softmax([row[s] for row in scores]) for s in range(len(regions))]
        scores = [[column[w] for column in columns] for w in range(len(words))]
    return [softmax([score / temperature for score in row]) for row in scores]


def literal(regions, words, settings):
    """Z of one image and one text, word by word."""
    weights = literal_attention(regions, words, settings.attention, settings.attention_temperature)
    exponentials = []
    for word, weight in zip(words, weights, strict=True):
        seen = [sum(a * region[d] for a, region in zip(weight, regions, strict=True)) for d in range(len(word))]
        cosine = dot(seen, word) / math.sqrt(dot(seen, seen)) / math.sqrt(dot(word, word))
        exponentials.append(math.exp(cosine / settings.word_temperature))
    total = {"sum": sum(exponentials), "mean": sum(exponentials) / len(words), "max": max(exponentials)}
    return math.log(total[settings.aggregation])


def inputs(images=3, texts=4, regions=5, words=6, dim=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(words) < torch.randint(1, words + 1, (texts, 1), generator=generator)
    return (
        torch.randn(images, regions, dim, generator=generator, dtype=torch.float64).requires_grad_(),
        torch.randn(texts, words, dim, generator=generator, dtype=torch.float64).requires_grad_(),
        mask,
    )


@pytest.mark.parametrize(("attention", "aggregation"), VARIANTS)
def test_equals_the_equations(attention, aggregation):
    settings = WordRegionSimilarity(0.7, 0.3, attention, aggregation)
    regions, words, mask = inputs()
    ours, attended = settings(regions, words, mask), settings.attend(regions, words, mask)
    for i in range(3):
        for t in range(4):
            there = words[t][mask[t]].tolist()
            assert ours[i, t].item() == pytest.approx(literal(regions[i].tolist(), there, settings), abs=1e-10)
            expected = literal_attention(regions[i].tolist(), there, attention, 0.7)
            torch.testing.assert_close(attended[i, t][mask[t]].detach(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("attention", "aggregation"), VARIANTS)
def test_gradients(attention, aggregation):
    settings = WordRegionSimilarity(0.7, 0.3, attention, aggregation)
    regions, words, mask = inputs(images=4)
    assert torch.autograd.gradcheck(
        lambda regions, words: matched_pairs(settings(regions, words, mask) / 0.5, 1, 1), (regions, words)
    )


@pytest.mark.parametrize("attention", ["regions", "words_regions"])
def test_padding_changes_nothing(attention):
    settings = WordRegionSimilarity(attention=attention)
    regions, words, mask = inputs()
    other = torch.where(mask[..., None], words, torch.randn_like(words) * 9)
    torch.testing.assert_close(settings(regions, other, mask), settings(regions, words, mask))
    wide, wide_mask = torch.nn.functional.pad(words, (0, 0, 0, 3)), torch.nn.functional.pad(mask, (0, 3))
    torch.testing.assert_close(settings(regions, wide, wide_mask), settings(regions, words, mask))


@pytest.mark.parametrize(("attention", "aggregation"), VARIANTS)
def test_a_text_without_words_is_a_zero_that_can_be_differentiated(attention, aggregation):
    regions, words, mask = inputs()
    mask[1] = False
    similarity = WordRegionSimilarity(attention=attention, aggregation=aggregation)(regions, words, mask)
    assert (similarity[:, 1] == 0).all()
    matched_pairs(similarity[:3, :3], 1, 1).backward()
    assert regions.grad.isfinite().all()
    assert (words.grad[1] == 0).all()


def test_vectors_of_zeros_are_finite():
    regions, words, mask = inputs()
    regions, words = torch.zeros_like(regions, requires_grad=True), torch.zeros_like(words, requires_grad=True)
    similarity = WordRegionSimilarity()(regions, words, mask)
    similarity.sum().backward()
    torch.testing.assert_close(similarity[0], mask.sum(1).double().log())  # every cosine is 0
    assert regions.grad.isfinite().all()
    assert words.grad.isfinite().all()


def test_chunks_give_the_same_values_and_gradients(monkeypatch):
    regions, words, mask = inputs(texts=7)
    settings = WordRegionSimilarity()
    whole = settings(regions, words, mask)
    expected = torch.autograd.grad(whole.square().sum(), (regions, words))
    monkeypatch.setattr(word_region, "MOST_WEIGHTS", 2 * 3 * 5 * 6)  # two texts at once
    chunked = settings(regions, words, mask)
    torch.testing.assert_close(chunked, whole)
    for ours, theirs in zip(torch.autograd.grad(chunked.square().sum(), (regions, words)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_half_precision_is_computed_in_float32():
    regions, words, mask = inputs(dim=32)
    half = (regions.detach().bfloat16(), words.detach().bfloat16(), mask)
    with torch.autocast("cpu", torch.bfloat16):
        similarity = WordRegionSimilarity()(*half)
    assert similarity.dtype == torch.float32
    expected = WordRegionSimilarity()(half[0].double(), half[1].double(), mask)
    torch.testing.assert_close(similarity.double(), expected, rtol=1e-5, atol=1e-5)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="`median`"):
        WordRegionSimilarity(aggregation="median")
    with pytest.raises(ValueError, match="`words`"):
        WordRegionSimilarity(attention="words")
    with pytest.raises(ValueError, match="above 0"):
        WordRegionSimilarity(word_temperature=0)
