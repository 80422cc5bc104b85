"""Heads of image-only methods, the pooling of DSVE and the head of matching."""

import pytest
import torch
from torch import nn

from models.encoders.heads.contrastive_head import FORMS, contrastive_head
from models.encoders.heads.matching_head import MatchingHead
from models.encoders.heads.weldon import weldon_pool
from models.errors import ModelError
from models.methods.images_only.config import HEADS


def test_forms():
    assert FORMS == HEADS
    weights = {form: {name for name, _ in contrastive_head(form, 6, 4).named_parameters()} for form in FORMS}
    assert weights["linear"] == {"weight", "bias"}
    assert weights["mlp"] == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert weights["mlp_without_bias"] == {"0.weight", "2.weight"}
    for form in FORMS:
        assert contrastive_head(form, 6, 4)(torch.randn(3, 6)).shape == (3, 4)
    with pytest.raises(ModelError, match="head is one of linear"):
        contrastive_head("deep", 6, 4)


def test_googles_head_has_no_shift_at_its_end():
    head = contrastive_head("google", 6, 4)
    assert isinstance(head.norms[-1], nn.BatchNorm1d)
    head(torch.randn(5, 6)).square().sum().backward()
    assert head.norms[-1].bias.grad is None
    assert head.norms[-1].weight.grad.any()
    assert head(torch.randn(9, 6)).mean(0).abs().max() < 1e-6
    assert head(torch.randn(9, 6)).min() < 0  # and no ReLU


@pytest.mark.parametrize(("largest", "smallest"), [(3, 2), (2, 0), (0, 2), (9, 9)])
def test_weldon_pooling_is_the_mean_of_the_largest_and_of_the_smallest(largest, smallest):
    torch.manual_seed(0)
    cells = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    pooled = weldon_pool(cells, largest, smallest)
    for row in range(2):
        for channel in range(3):
            values = sorted(cells[row, :, channel].tolist())
            expected = sum(values[::-1][:largest]) / max(1, largest) + sum(values[:smallest]) / max(1, smallest)
            assert pooled[row, channel].item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda given: weldon_pool(given, largest, smallest), cells)


@pytest.mark.parametrize("product", [False, True])
def test_every_pair_is_scored_as_it_is_alone(product, monkeypatch):
    monkeypatch.setattr("models.encoders.heads.matching_head.BLOCK", 7)
    torch.manual_seed(0)
    head = MatchingHead(4, 5, product).double()
    images, texts = torch.randn(5, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = head.every_pair(images, texts)
    for row, image in enumerate(images):
        for column, text in enumerate(texts):
            parts = [image, text, image * text] if product else [image, text]
            first, _, last = head.layers
            hidden = (first.weight @ torch.cat(parts) + first.bias).clamp(min=0)
            torch.testing.assert_close(found[row, column], last.weight[0] @ hidden + last.bias[0])
