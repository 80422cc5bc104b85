"""Threads in the place of processes, for what they gather."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Processes:
    """`count` threads, numbered as processes are; a gather gives each what all brought, gradients included."""

    def __init__(self, count: int = 2) -> None:
        self.count = count
        self.barrier = threading.Barrier(count)
        self.brought: dict[str, Tensor] = {}

    def gather(self, tensor: Tensor) -> Tensor:
        self.brought[threading.current_thread().name] = tensor
        self.barrier.wait(10)
        joined = torch.cat([self.brought[name] for name in sorted(self.brought)])
        self.barrier.wait(10)
        return joined

    def run(self, process: Callable[[int], Any]) -> list[Any]:
        """What each thread makes of its number."""
        results: dict[int, Any] = {}
        threads = [
            threading.Thread(target=lambda index=index: results.update({index: process(index)}), name=str(index))
            for index in range(self.count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [results[index] for index in range(self.count)]
