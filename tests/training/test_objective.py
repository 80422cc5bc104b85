"""Micro-batches and checkpoints cost time, save memory, and change no gradient."""

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.method import Batch, Method
from tests.models.tiny import tiny_batch, tiny_method
from training import objective as objective_module
from training.objective import Objective, checkpoint_encoders

DEEPER = {"image_encoder": "vit/4x32p8", "text_encoder": "bert/4x32"}


class Toy(Method):
    """Dropout and batch norm before a loss over all pairs."""

    def __init__(self, width: int = 64, depth: int = 8) -> None:
        super().__init__()
        blocks = [nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, width), nn.Dropout(0.3)) for _ in range(depth)]
        self.network = nn.Sequential(*blocks)

    def encode(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {"vectors": self.network(batch.images)}

    def contrast(self, encoded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        vectors = encoded["vectors"]
        return {"spread": (vectors @ vectors.T).logsumexp(1).mean()}


def backward(objective: Objective, batch: Batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    torch.stack(list(objective(batch).values())).sum().backward()
    method = objective.method
    gradients = {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}
    return {**gradients, **dict(method.named_buffers())}


def test_the_second_pass_repeats_the_first(monkeypatch):
    batch = Batch(torch.randn(32, 64))
    torch.manual_seed(0)
    recomputed = Objective(Toy().train(), micro_batches=4)
    torch.manual_seed(0)
    kept = Objective(Toy().train(), micro_batches=4)
    found = backward(recomputed, batch)
    monkeypatch.setattr(objective_module, "checkpoint", lambda function, part, **_: function(part))
    expected = backward(kept, batch)
    assert all(torch.equal(found[name], expected[name]) for name in expected)  # the same dropout
    counted = [value for name, value in found.items() if name.endswith("num_batches_tracked")]
    assert set(map(int, counted)) == {4}  # each part once


class Live(TorchDispatchMode):
    """The most bytes that tensors made in the block held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak, self.now = 0, 0
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.storages = {key: item for key, item in self.storages.items() if not item[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return result


def activation_bytes(objective: Objective, batch: Batch) -> int:
    torch.manual_seed(0)
    with Live() as live:
        torch.stack(list(objective(batch).values())).sum().backward()
    return live.peak - sum(p.grad.nbytes for p in objective.parameters() if p.grad is not None)


def test_eight_micro_batches_need_a_quarter_of_the_memory():
    method = tiny_method(
        "convirt", **DEEPER, frozen_layers=1
    )  # no gradient of the whole vocabulary, which is no activation
    batch = tiny_batch(method, 64)
    whole, parted = (activation_bytes(Objective(method, micro_batches), batch) for micro_batches in (1, 8))
    assert whole > 4 * parted


@pytest.mark.parametrize("name", ["convirt", "chexzero"])  # timm and transformers, open_clip
def test_checkpointed_encoders_need_less_memory_for_the_same_gradients(name):
    plain, saving = (tiny_method(name, **(DEEPER if name == "convirt" else {})).train() for _ in range(2))
    batch = tiny_batch(plain, 32)
    checkpoint_encoders(saving)
    before, after = (activation_bytes(Objective(method), batch) for method in (plain, saving))
    assert after < before
    for (key, parameter), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if parameter.grad is not None:
            torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-5, atol=1e-6, msg=key)


def test_a_method_without_such_encoders_says_so():
    with pytest.raises(ValueError, match="gradient_checkpointing"):
        checkpoint_encoders(Toy())


def test_compiling_replaces_the_encoding(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: lambda batch: {"vectors": function(batch)["vectors"] * 0})
    batch, toy = Batch(torch.randn(8, 64)), Toy()
    assert Objective(toy, compiled=True)(batch)["spread"] != Objective(toy)(batch)["spread"]
