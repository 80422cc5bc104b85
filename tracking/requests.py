"""Which training a request asks for.

The folder of a run is named after everything that decides its weights. The same request therefore resumes what was
interrupted and finds what is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shards.manifest import Manifest
from store.batches import expect_plan
from store.digests import file_digest, fingerprint
from tracking.runs import Home
from training.errors import TrainingError
from training.state.code import training_code


def expect_reports(workspace: Home) -> None:
    """Raise TrainingError where the dataset has images without text."""
    if not expect_plan(workspace.folder("inventory")).settings["has_reports"]:
        raise TrainingError(
            f"The cohort {workspace.cohort_name()} has images without reports, from which there is nothing to "
            "pretrain: set RADALIGN_COHORT to one with reports, and use this one to evaluate."
        )


def training_request(workspace: Home, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of `python -m training`; its folder is named after all that decides the weights."""
    shards = workspace.folder("shards")
    knowledge = workspace.folder("knowledge") / "knowledge.parquet"
    data_version = Manifest.load(shards).digest
    run = fingerprint(method, settings, data_version, file_digest(knowledge), training_code(method))
    return {
        **settings,
        "method": method,
        "shards": str(shards),
        "knowledge": str(knowledge),
        "output": str(workspace.home_path() / "checkpoints" / method / run),
        "data_version": data_version,
    }
