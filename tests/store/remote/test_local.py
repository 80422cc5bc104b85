"""What the processes of a machine do one at a time in a mirror."""

from __future__ import annotations

import multiprocessing
import threading

import pytest

from store.remote.cache import BlockCache
from store.remote.local import LocalMirror


@pytest.mark.parametrize(
    "holding",
    [lambda folder: LocalMirror(folder).alone("phantom"), lambda folder: BlockCache(folder, 1).fetching("ab")],
)
def test_a_process_that_was_forked_while_somebody_held_a_lock_does_not_go_on_holding_it(holding, tmp_path):
    """As a loader's, which lives for the time of a training."""
    context = multiprocessing.get_context("fork")
    ended = context.Event()
    with holding(tmp_path):
        child = context.Process(target=ended.wait)
        child.start()
    free = threading.Event()

    def take() -> None:
        with holding(tmp_path):
            free.set()

    threading.Thread(target=take, daemon=True).start()
    try:
        assert free.wait(5)
    finally:
        ended.set()
        child.join()
