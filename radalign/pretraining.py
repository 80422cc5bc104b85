"""Pretrains a method on shards, in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from radalign.errors import one_sentence
from radalign.model import Model

Progress = Callable[[int, int], None]


def pretrain(
    method: str,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    knowledge: str | PathLike[str] = "",
    progress: Progress | None = None,
    **settings: Any,
) -> Model:
    """Train `method` on the folder `shards`, from the last checkpoint in `output` if there is one, and load the result.

    `settings` are fields of `training.config.TrainingConfig`, over the recipe of the method's paper; `knowledge` is
    the knowledge table (Parquet) that methods with descriptions read. A finished run in `output` is loaded as it is.
    `progress(done, total)` is called after every step.
    """
    from training.__main__ import LOG, locked
    from training.config import TrainingConfig
    from training.loop import train

    given = {"method": method, "shards": str(shards), "knowledge": str(knowledge), "output": str(output)}
    with one_sentence():
        config = TrainingConfig.from_dict({**given, **settings}, "radalign.pretrain")
        if not LOG.handlers:
            LOG.addHandler(logging.NullHandler())
        with locked(Path(output), 0):
            train(config, progress)
    return Model(Path(output))
