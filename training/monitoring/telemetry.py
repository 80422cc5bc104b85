"""What a step costs: floating-point operations against what the hardware can do, memory, and waiting for data."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from time import perf_counter

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.method import Batch, Method

COUNTED = 16  # pairs whose operations are counted; what grows with the square of the batch is a small part
PRODUCTS = {"cuda": (8192, 20), "cpu": (1024, 4)}  # side of the matrices that are multiplied, and at most how often
ENOUGH = 1.0  # seconds of multiplying: a processor without bf16 takes seconds for one product of it
GIGA = 1e9
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in what getrusage(2) counts


@dataclass(frozen=True)
class Hardware:
    """Operations of one pair, and the speed of the device."""

    flops_per_pair: float  # forward and backward
    peak: float  # floating-point operations per second of a large matrix product, measured

    def utilisation(self, pairs_per_second: float) -> float:
        """Share of the peak that the model's own operations use (MFU, PaLM, arXiv 2204.02311, appendix B)."""
        return self.flops_per_pair * pairs_per_second / self.peak


def measure(method: Method, batch: Batch, device: torch.device, dtype: torch.dtype) -> Hardware:
    """Count one step's operations and measure the peak; changes neither the network nor anything else of the run."""
    return Hardware(flops_per_pair(method, batch, device, dtype), matrix_product_peak(device, dtype))


def flops_per_pair(method: Method, batch: Batch, device: torch.device, dtype: torch.dtype) -> float:
    """Operations of forward and backward pass per pair of `batch`, counted on a copy of the network."""
    part, copy = batch.part(slice(0, COUNTED)), deepcopy(method).train()
    autocast = torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
    with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
        with autocast:
            terms = copy.contrast(copy.encode(part))
        torch.stack(list(terms.values())).sum().backward()
    return counter.get_total_flops() / len(part)


def matrix_product_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the fastest of several large matrix products."""
    side, repeats = PRODUCTS[device.type]
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    best, begun = float("inf"), perf_counter()
    for _ in range(repeats):
        _wait_for(device)
        start = perf_counter()
        matrix @ matrix
        _wait_for(device)
        best = min(best, perf_counter() - start)
        if perf_counter() - begun > ENOUGH:
            break
    return float(2 * side**3 / best)


def memory() -> dict[str, float]:
    """The most memory that this process has had, in GB: of the host, and of the GPU where there is one."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    used = {"memory_gb": host / GIGA}
    if torch.cuda.is_available():
        used["gpu_memory_gb"] = torch.cuda.max_memory_allocated() / GIGA
    return used


class Stopwatch:
    """Time since it was last read, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self._since, self._waited = perf_counter(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting."""
        start = perf_counter()
        try:
            yield
        finally:
            self._waited += perf_counter() - start

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do not count the time of the block."""
        start = perf_counter()
        try:
            yield
        finally:
            self._since += perf_counter() - start

    def read(self) -> tuple[float, float]:
        """Seconds, and seconds of waiting among them; starts anew."""
        now, waited = perf_counter(), self._waited
        seconds = now - self._since
        self._since, self._waited = now, 0.0
        return seconds, waited


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
