"""Batches of random pairs, and threads that make them ahead of their use. All follows from a batch's number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
AHEAD = 4  # batches per thread that are made before they are needed


class Epochs:
    """How an endless sequence of batches is divided into epochs of `pairs` pairs.

    Where an epoch does not end with a batch, `last` says what becomes of its last pairs: the next epoch begins within
    their batch (`across`), they are left out of this epoch (`drop`), or they are a shorter batch (`keep`).
    """

    def __init__(self, pairs: int, batch_size: int, last: str) -> None:
        self.pairs = pairs
        self.batch_size = batch_size
        self.last = last

    @property
    def batches_per_epoch(self) -> float:
        """How many batches show every pair once, or with `drop` at most once."""
        if self.last == "across":
            return self.pairs / self.batch_size
        whole, rest = divmod(self.pairs, self.batch_size)
        return whole + (self.last == "keep" and rest > 0)

    def epochs_before(self, number: int) -> int:
        """How many epochs have ended before batch `number`."""
        if self.last == "across":
            return number * self.batch_size // self.pairs
        return number // int(self.batches_per_epoch)


class Shuffle(Epochs):
    """An endless sequence of batches. Every epoch is a permutation of all `pairs` that follows from (seed, epoch).

    Any batch can be asked for at once, so resuming needs nothing but its number.
    """

    def __init__(self, pairs: int, batch_size: int, seed: int, last: str = "across") -> None:
        super().__init__(pairs, batch_size, last)
        self._order = lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(pairs))

    def batch(self, number: int) -> np.ndarray:
        """Which pairs, of 0 .. pairs - 1, are in batch `number` (counting from 0), in this order."""
        if self.last != "across":
            epoch, place = divmod(number, int(self.batches_per_epoch))
            return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        positions = number * self.batch_size + np.arange(self.batch_size)
        epochs = positions // self.pairs
        parts = [
            self._order(epoch)[positions[epochs == epoch] % self.pairs] for epoch in range(epochs[0], epochs[-1] + 1)
        ]
        return np.concatenate(parts)


class Loader(Generic[T]):
    """Calls `make(number)` for the batches from `first` on, up to `ahead` before their use, in threads.

    Batches come in the order of their numbers whatever the threads do. A batch is its user's until the next one is
    asked for: then `make` may write into its arrays, as at most `ahead + 2` batches are there at once.
    """

    def __init__(self, make: Callable[[int], T], first: int = 0, threads: int = 1, ahead: int = AHEAD) -> None:
        self._make = make
        self._next = first
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self._coming: deque[Future[T]] = deque()

    def __next__(self) -> T:
        while len(self._coming) <= self._ahead:
            self._coming.append(self._pool.submit(self._make, self._next))
            self._next += 1
        return self._coming.popleft().result()

    def close(self) -> None:
        """Drop what was made ahead and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def count_buffers(threads: int) -> int:
    """Number of buffers that a loader with `threads` needs if batch n reuses the buffer of batch n - count_buffers."""
    return AHEAD * threads + 2


@contextmanager
def loading(make: Callable[[int], T], first: int = 0, threads: int = 1) -> Iterator[Loader[T]]:
    """A loader that ends with the block."""
    loader = Loader(make, first, threads, AHEAD * threads)
    try:
        yield loader
    finally:
        loader.close()
