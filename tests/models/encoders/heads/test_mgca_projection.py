"""MGCA's heads: batch norm over what is there, and over nothing else."""

import pytest
import torch
from torch import nn

from models.encoders.batch_norm import share_batch_norm
from models.encoders.heads.mgca_projection import MaskedBatchNorm, ProjectionHead
from tests.models.processes import Processes


def tokens(seed=0):
    torch.manual_seed(seed)
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]
    return torch.randn(4, 6, 3, dtype=torch.float64), mask


@pytest.mark.parametrize("affine", [True, False])
def test_equals_batch_norm_of_the_packed_rows(affine):
    features, mask = tokens()
    ours, theirs = MaskedBatchNorm(3, affine).double(), nn.BatchNorm1d(3, affine=affine).double()
    if affine:
        for norm in (ours.norm, theirs):
            norm.load_state_dict({**norm.state_dict(), "weight": torch.arange(1.0, 4), "bias": torch.arange(3.0)})
    leaves = [features.clone().requires_grad_() for _ in range(2)]
    weights = torch.randn(int(mask.sum()), 3, dtype=torch.float64)
    results = ours(leaves[0], mask)[mask], theirs(leaves[1][mask])
    for result in results:
        (result * weights).sum().backward()
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(ours.norm.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.norm.running_var, theirs.running_var)


def test_gradients():
    features, mask = tokens()
    head = ProjectionHead(3, 4, 2).double()
    assert torch.autograd.gradcheck(lambda value: head(value, mask)[mask], features.requires_grad_())


def test_padding_changes_neither_the_rest_nor_the_memory():
    features, mask = tokens()
    heads = [ProjectionHead(3, 4, 2).double() for _ in range(2)]
    heads[1].load_state_dict(heads[0].state_dict())
    other = torch.where(mask[..., None], features, 7.0)
    torch.testing.assert_close(heads[0](features, mask)[mask], heads[1](other, mask)[mask])
    torch.testing.assert_close(heads[0].state_dict(), heads[1].state_dict())
    heads[0].eval()
    torch.testing.assert_close(heads[0](features, mask), heads[0](features))


@pytest.mark.parametrize("count", [0, 1])
def test_no_token_or_one_is_finite(count):
    features = torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    mask.view(-1)[:count] = True
    head = ProjectionHead(4, 5, 2)
    result = head(features, mask)
    (result * mask[..., None]).sum().backward()
    assert result[mask].isfinite().all()
    assert features.grad.isfinite().all()
    assert all(value.isfinite().all() for value in head.state_dict().values())


def test_half_precision_keeps_its_statistics_in_single():
    features, mask = tokens()
    norm = MaskedBatchNorm(3)
    with torch.autocast("cpu", torch.bfloat16):
        assert norm(features.bfloat16(), mask).dtype == torch.float32


def test_two_processes_with_shared_batch_norm_are_one(monkeypatch):
    processes = Processes(2)
    monkeypatch.setattr("models.encoders.heads.mgca_projection.gather", processes.gather)
    features, mask = tokens()
    norms = [MaskedBatchNorm(3).double() for _ in range(2)]
    for norm in norms:
        share_batch_norm(norm)
    part = features.clone().requires_grad_()
    rows = slice(0, 2), slice(2, 4)
    joined = torch.cat(processes.run(lambda index: norms[index](part[rows[index]], mask[rows[index]])))
    alone = MaskedBatchNorm(3).double()
    whole = alone(features.requires_grad_(), mask)
    for result in (joined, whole):
        result.square().mul(torch.arange(3)).sum().backward()
    torch.testing.assert_close(joined, whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(part.grad, features.grad, rtol=1e-10, atol=1e-12)
    for norm in norms:
        torch.testing.assert_close(norm.norm.running_var, alone.norm.running_var)
