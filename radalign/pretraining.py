"""Pretrains a method on shards, in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any

from models.registry import settings_class
from radalign.errors import RadalignError, one_sentence
from radalign.model import Model

Progress = Callable[[int, int], None]
KNOWLEDGE = "knowledge.parquet"  # in the folder of a run that was given none


def pretrain(
    method: str,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    knowledge: str | PathLike[str] = "",
    progress: Progress | None = None,
    **settings: Any,
) -> Model:
    """Train `method` on the folder `shards`, from the last checkpoint in `output` if there is one, and load the result.

    `settings` are fields of `training.config.TrainingConfig`, over the recipe of the method's paper. `knowledge` is
    the table (Parquet) of the descriptions that some methods read (default: the one that comes with Radalign). A
    finished run in `output` is loaded as it is. `progress(done, total)` is called after every step.
    """
    from training.__main__ import LOG
    from training.config import TrainingConfig
    from training.loop import train

    given = {"method": method, "shards": str(shards), "output": str(output)}
    with one_sentence():
        given["knowledge"] = str(knowledge or Path(output) / KNOWLEDGE)
        config = TrainingConfig.from_dict({**given, **settings}, "radalign.pretrain")
        _check_fields(config.method, config.method_config)
        if not knowledge:
            _write_knowledge(Path(config.knowledge))
        if not LOG.handlers:
            LOG.addHandler(logging.NullHandler())
        with _same_threads():
            train(config, progress)
    return Model(Path(output))


def _check_fields(method: str, given: dict[str, Any]) -> None:
    """RadalignError names the first of the `given` settings that the method does not have."""
    known = sorted(field.name for field in fields(settings_class(method)))
    if unknown := sorted(set(given) - set(known)):
        raise RadalignError(
            f"{method}: `method_config` has no field `{unknown[0]}`; its fields are {', '.join(known)}."
        )


@contextmanager
def _same_threads() -> Iterator[None]:
    """Leave the number of torch's threads to the caller, whatever the training sets it to."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_knowledge(path: Path) -> None:
    """Write the knowledge table that comes with Radalign."""
    from report_parsing.knowledge.base import KnowledgeBase
    from store.seals import is_intact, write_sealed_table

    if not is_intact(path):
        write_sealed_table(KnowledgeBase.default().table(), path)
