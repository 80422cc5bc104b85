"""LRCLR's local loss: its equation written out, gradients, chunks, and the shortcut of the printed form."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from models.encoders.fusion.cross_modality import CrossModality, TextSequence
from models.losses.local_alignment import all_pairs_scores, local_alignment, matched_scores
from models.losses.part_contrast import part_contrast

CPU = torch.device("cpu")


def vectors(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape)))


def written_out(scores: list[list[float]]) -> float:
    """Equation 5 with t_l^k for the printed t_k^k."""
    return sum(-math.log(math.exp(row[i]) / sum(math.exp(score) for score in row)) for i, row in enumerate(scores))


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def test_matched_form_written_out():
    images, texts = vectors(4, 3), vectors(4, 3) * 0.5
    literal = written_out([[inner(images[i], texts[k]) for k in range(4)] for i in range(4)])
    assert float(local_alignment(matched_scores(images, texts))) == pytest.approx(literal, abs=1e-10)
    assert float(local_alignment(matched_scores(images, texts), "mean")) == pytest.approx(literal / 4, abs=1e-10)
    halved = local_alignment(matched_scores(images / 2, texts, cosine=True))
    assert float(halved) == pytest.approx(float(local_alignment(matched_scores(images, texts, cosine=True))))


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 5, 100])
def test_all_pairs_written_out(chunk, cosine):
    seen, read = vectors(3, 3, 2), vectors(3, 3, 2).flip(0)

    def score(i: int, k: int) -> float:
        length = math.sqrt(inner(seen[i, k], seen[i, k]) * inner(read[i, k], read[i, k])) if cosine else 1.0
        return inner(seen[i, k], read[i, k]) / length

    scores = all_pairs_scores(lambda i, k: (seen[i, k], read[i, k]), 3, chunk, CPU, cosine)
    literal = written_out([[score(i, k) for k in range(3)] for i in range(3)])
    assert float(local_alignment(scores)) == pytest.approx(literal, abs=1e-10)


def test_gradients():
    images, texts = vectors(3, 2).requires_grad_(), vectors(3, 2).flip(0).requires_grad_()
    assert gradcheck(lambda i, t: local_alignment(matched_scores(i, t)), (images, texts))
    seen, read = vectors(2, 2, 2).requires_grad_(), vectors(2, 2, 2).flip(0).requires_grad_()
    assert gradcheck(
        lambda s, r: local_alignment(all_pairs_scores(lambda i, k: (s[i, k], r[i, k]), 2, 3, CPU)), (seen, read)
    )
    features, labels = vectors(4, 3).requires_grad_(), torch.tensor([0, 1, 0, 2])
    assert gradcheck(lambda f: part_contrast(f, labels), (features,))


def test_small_batches_and_low_precision():
    assert float(local_alignment(matched_scores(vectors(1, 3), vectors(1, 3)))) == 0
    assert float(local_alignment(matched_scores(vectors(0, 3), vectors(0, 3)))) == 0
    assert float(part_contrast(vectors(0, 3), torch.zeros(0))) == 0
    half = matched_scores(vectors(2, 3).bfloat16(), vectors(2, 3).bfloat16())
    assert half.dtype == torch.float32
    with pytest.raises(ValueError, match="`sum` or the `mean`"):
        local_alignment(half, "max")


def test_part_contrast_written_out():
    features, labels = vectors(5, 3), [0, 1, 0, 2, 1]
    total = 0.0
    for i in range(5):
        for j in range(5):
            cosine = inner(features[i], features[j]) / math.sqrt(
                inner(features[i], features[i]) * inner(features[j], features[j])
            )
            total += 1 - cosine if labels[i] == labels[j] else max(cosine - 0.4, 0.0)
    assert float(part_contrast(features, torch.tensor(labels))) == pytest.approx(total / 25, abs=1e-10)


@pytest.mark.parametrize(("matched", "leaks"), [(True, True), (False, False)])
def test_the_printed_form_is_solved_without_looking_at_images(matched, leaks):
    """All images are the same here, so that nothing can tell which text is whose: the loss cannot fall below log 4."""
    torch.manual_seed(0)
    images = torch.randn(1, 3, 8).expand(4, -1, -1)
    texts = TextSequence(torch.randn(4, 5, 8), torch.ones(4, 5, dtype=torch.bool))
    cross = CrossModality(8, 8, regions=2, context=5, width=16, layers=1, heads=2)
    optimizer = torch.optim.Adam(cross.parameters(), lr=0.02)
    for _ in range(60):
        if matched:
            scores = matched_scores(*cross(images, texts))
        else:
            scores = all_pairs_scores(lambda i, k: cross(images[i], texts.at(k)), 4, 16, CPU)
        loss = local_alignment(scores, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (float(loss.detach()) < 0.1) == leaks
    if not leaks:
        assert float(loss.detach()) >= math.log(4) - 1e-4
