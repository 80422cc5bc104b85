"""Which training a request asks for.

The folder of a run is named after everything that decides its weights. The same request therefore resumes what was
interrupted and finds what is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.encoders.local_files import named_files
from shards.pool import load_manifest
from store.batches import expect_plan
from store.digests import fingerprint, known_digest
from store.seals import expect_intact
from tracking.runs import Home
from training.errors import TrainingError
from training.state.code import training_code

KNOWLEDGE_AGAIN = "run `dagster job execute -j ingest`: it is made again."


def expect_reports(workspace: Home) -> None:
    """Raise TrainingError where the dataset has images without text."""
    if not expect_plan(workspace.folder("inventory")).settings["has_reports"]:
        raise TrainingError(
            f"The cohort {workspace.cohort_name()} has images without reports, from which there is nothing to "
            "pretrain: set RADALIGN_COHORT to one with reports, and use this one to evaluate."
        )


def training_request(workspace: Home, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of `python -m training`; its folder is named after all that decides the weights.

    DamageError where the knowledge is not what was written.
    """
    shards = workspace.folder("shards")
    knowledge = workspace.folder("knowledge") / "knowledge.parquet"
    data_version = load_manifest(shards).digest
    known = known_digest(expect_intact(knowledge, KNOWLEDGE_AGAIN))
    files = named_files(settings["method_config"])
    run = fingerprint(method, settings, data_version, known, training_code(method), *([files] if files else ()))
    return {
        **settings,
        "method": method,
        "shards": str(shards),
        "knowledge": str(knowledge),
        "output": str(workspace.home_path() / "checkpoints" / method / run),
        "data_version": data_version,
    }
