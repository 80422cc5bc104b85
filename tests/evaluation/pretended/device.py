"""A device that this machine does not have, for tests: its tensors hold those of the CPU that they stand for.

As on a GPU, an operation must not mix its tensors with others, and values leave it by `.cpu()` only. Operations of a
network on tensors of the CPU are refused while the device is watched. Numbers are computed by the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretended"
PLACE = f"{NAME}:0"
CPU = torch.device("cpu")
NETWORKS = (
    *("convolution", "addmm", "native_layer_norm", "batch_norm", "embedding", "scaled_dot_product", "grid_sampler"),
    *("_softmax", "adam", "avg_pool", "max_pool", "upsample"),
)  # parts of the names of operations that a network, its training or its images pass through

MIXED = ("index", "copy_", "::to.", "_to_copy", "_has_compatible_shallow_copy_type")  # what takes tensors of both


class PretendedTensor(torch.Tensor):
    """A tensor that says it lies on the device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> PretendedTensor:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        with torch.inference_mode(False):  # views of weights have to be ordinary tensors, also in inference
            wrapper = torch.Tensor._make_wrapper_subclass(cls, held.shape, **layout, dtype=held.dtype, device=PLACE)
        wrapper.held = held
        return wrapper

    def __repr__(self):
        return f"{NAME} {self.held!r}"

    def __tensor_flatten__(self):
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(parts, *_):
        return PretendedTensor(parts["held"])

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {}, watched=False)


class _Watch(TorchDispatchMode):
    """Lets tensors be made on the device, and refuses a network's operations anywhere else."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _compute(operation, args, kwargs or {}, watched=True)


class _Constants(TorchFunctionMode):
    """Makes constants on the CPU and moves them: torch makes those of Python's numbers without asking a dispatcher."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return torch.tensor(*args, **{**kwargs, "device": CPU}).to(kwargs["device"])
        if function is torch.Tensor.new_tensor and isinstance(args[0], PretendedTensor):
            return torch.tensor(*args[1:], dtype=args[0].dtype).to(PLACE)
        if function is torch.Tensor.__getitem__ and isinstance(args[0], PretendedTensor):
            return function(args[0], _as_index(args[1]))
        return function(*args, **kwargs)


@contextmanager
def pretended_device() -> Iterator[str]:
    """The name of the device, which is watched meanwhile."""
    with _Constants(), _Watch():
        yield PLACE


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def get_rng_state(self, device):
        return torch.empty(0)

    def set_rng_state(self, state, device):
        pass


def _compute(operation, args, kwargs, watched):
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    there = any(isinstance(tensor, PretendedTensor) for tensor in tensors)
    name = operation.name()
    if not there and not any(device.type == NAME for device in devices):
        if watched and any(part in name for part in NETWORKS):
            raise AssertionError(f"{operation} ran on the CPU")
        return operation(*args, **kwargs)
    here = [tensor for tensor in tensors if tensor.dim() and not isinstance(tensor, PretendedTensor)]
    if there and here and not any(part in name for part in MIXED):
        raise AssertionError(f"{operation} mixes tensors of the CPU and of the device")
    stays = devices[-1].type == NAME if devices else True
    held_args, held_kwargs = tree_map_only(PretendedTensor, lambda tensor: tensor.held, (args, kwargs))
    moved_args, moved_kwargs = tree_map_only(torch.device, _to_cpu, (held_args, held_kwargs))
    found = operation(*moved_args, **moved_kwargs)
    if not stays:
        return found
    wrapped = tree_map_only(torch.Tensor, PretendedTensor, found)
    return return_and_correct_aliasing(operation, args, kwargs, wrapped) if there else wrapped


def _as_index(index):
    """Lists of numbers as tensors of the CPU, which index tensors of any device."""
    if isinstance(index, tuple):
        return tuple(map(_as_index, index))
    return torch.tensor(index) if isinstance(index, (list, range, np.ndarray)) else index


def _to_cpu(_):
    return CPU


_setup_privateuseone_for_python_backend(NAME, _Module())  # before the first backward pass, which counts devices
