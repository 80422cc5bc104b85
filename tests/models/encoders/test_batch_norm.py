"""Batch norm that is shared by processes is that of one process with the whole batch, forward, backward and after."""

from copy import deepcopy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from models.encoders import batch_norm
from models.encoders.batch_norm import SharedBatchNorm, share_batch_norm
from tests.models.processes import Processes
from training.objective import hold_statistics

CHANNELS, PAIRS = 5, 12
NORMS = {
    "vectors": (lambda: nn.BatchNorm1d(CHANNELS), (PAIRS, CHANNELS)),
    "tokens": (lambda: nn.BatchNorm1d(CHANNELS), (PAIRS, CHANNELS, 7)),
    "maps": (lambda: nn.BatchNorm2d(CHANNELS), (PAIRS, CHANNELS, 6, 4)),
    "no weights": (lambda: nn.BatchNorm1d(CHANNELS, affine=False), (PAIRS, CHANNELS)),
    "no memory": (lambda: nn.BatchNorm1d(CHANNELS, track_running_stats=False), (PAIRS, CHANNELS)),
    "cumulative": (lambda: nn.BatchNorm1d(CHANNELS, momentum=None), (PAIRS, CHANNELS)),
    "timm's with activation": (lambda: BatchNormAct2d(CHANNELS), (PAIRS, CHANNELS, 6, 4)),
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}


@pytest.fixture
def processes(monkeypatch):
    found = Processes(3)
    monkeypatch.setattr(batch_norm, "gather", found.gather)
    return found


def step(norm: nn.Module, features: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two forward passes, the second with its gradients."""
    features = features.clone().requires_grad_()
    norm(features + 1)
    normal = norm(features)
    (normal.square() * weights).sum().backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in norm.named_parameters()}
    return {"normal": normal.detach(), "gradient": features.grad, **gradients, **dict(norm.named_buffers())}


def whole_and_shared(kind: str, processes: Processes, dtype: torch.dtype) -> tuple[dict, list[dict]]:
    build, shape = NORMS[kind]
    torch.manual_seed(0)
    norm = build().to(dtype).train()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    features, weights = torch.randn(shape, dtype=dtype) * 3 + 5, torch.randn(shape, dtype=dtype)
    if features.ndim == 4:
        features = features.contiguous(memory_format=torch.channels_last)
    parts = [deepcopy(norm) for _ in range(processes.count)]
    for part in parts:
        share_batch_norm(part)
    rows = [slice(0, 2), slice(2, 7), slice(7, PAIRS)]  # shares need not be equal
    found = processes.run(lambda index: step(parts[index], features[rows[index]], weights[rows[index]]))
    return step(norm, features, weights), found


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", NORMS)
def test_processes_are_one(kind, dtype, processes):
    expected, found = whole_and_shared(kind, processes, dtype)
    for name in ("normal", "gradient"):
        assert apart(torch.cat([part[name] for part in found]), expected[name]) < TOLERANCE[dtype]
    for name in expected.keys() - {"normal", "gradient"}:
        together = sum(part[name] for part in found) if "gradient" in name else found[0][name]
        assert apart(together, expected[name]) < TOLERANCE[dtype], name


def test_half_precision_keeps_its_statistics_in_single(processes):
    features = torch.randn(PAIRS, CHANNELS, 6, 4) + 20
    norms = [nn.BatchNorm2d(CHANNELS) for _ in range(processes.count)]
    for norm in norms:
        share_batch_norm(norm)

    def process(index):
        part = features[4 * index : 4 * index + 4].bfloat16().requires_grad_()
        normal = norms[index](part)
        normal.sum().backward()
        return normal.detach(), part.grad

    found = processes.run(process)
    expected = features.bfloat16().float()
    torch.testing.assert_close(norms[0].running_mean, 0.1 * expected.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    assert {tensor.dtype for pair in found for tensor in pair} == {torch.bfloat16}
    assert torch.cat([normal for normal, _ in found]).float().mean((0, 2, 3)).abs().max() < 0.05


def test_names_kinds_and_evaluation_stay():
    norm = nn.Sequential(nn.BatchNorm2d(3), BatchNormAct2d(3))
    before, features = {name: value.clone() for name, value in norm.state_dict().items()}, torch.randn(2, 3, 4, 4)
    expected = norm.eval()(features)
    share_batch_norm(norm)
    share_batch_norm(norm)
    assert all(isinstance(module, (SharedBatchNorm, nn.BatchNorm2d)) for module in norm)
    assert type(norm[0]).__mro__.count(SharedBatchNorm) == 1
    assert norm.state_dict().keys() == before.keys()
    assert torch.equal(norm(features), expected)
    assert torch.equal(deepcopy(norm)(features), expected)


def test_compiled_networks_call_it_as_it_is():
    network, features = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)), torch.randn(4, 1, 8, 8)
    expected = network(features)
    share_batch_norm(network)
    torch.testing.assert_close(torch.compile(network, backend="eager")(features), expected)


def test_a_second_pass_does_not_count(processes):
    norms = [nn.BatchNorm1d(3) for _ in range(processes.count)]
    features = torch.randn(6, 3)

    def process(index):
        share_batch_norm(norms[index])
        with hold_statistics(norms[index]):
            norms[index](features[2 * index : 2 * index + 2])
        return norms[index].running_mean, norms[index].num_batches_tracked

    for mean, count in processes.run(process):
        assert not mean.any()
        assert count == 0
