"""What is known of a network: which run it is from, what that was trained on, and what was measured of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.metrics.values import MACRO
from evaluation.results.files import MEASURED
from evaluation.results.schema import RESULTS
from evaluation.results.store import read_results
from evaluation.results.trainings import Pretraining, Training, find_pretrainings
from ingestion.workspace import Workspace
from models.released.opening import find_format
from models.run_files import ORIGIN, RESULT, expect_recorded
from models.saved import ModelCard
from radalign.model import Model
from store.errors import UserError

OF_DATA = (
    "That of the data: who got the images and reports under an agreement passes the weights on under its terms only."
)
SETTINGS = ("epochs", "max_steps", "batch_size", "learning_rate", "optimizer", "input_size")  # told beside the method's


@dataclass(frozen=True)
class Facts:
    """Empty where nothing is known."""

    method: str
    weights: str  # digest
    licence: str
    source: str = ""  # of weights that others released: paper and repository
    imported: Mapping[str, str] = field(default_factory=dict)  # their file: name, digest, format
    name: str = ""  # of the run in results: mgca:ITA
    dataset: str = ""  # of the pretraining
    simulated: bool = False
    data_version: str = ""
    preset: str = ""
    seed: int | None = None
    untrained: bool = False  # whether they are the weights before the training
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the training
    results: tuple[Mapping[str, Any], ...] = ()  # rows of evaluation.results.schema, means over classes


def gather_facts(model: Model, home: str) -> Facts:
    """What the run's folder and the results of the home say. What cannot be read there is left out."""
    card, digest = model.card, model.digest
    known = Facts(card.method, digest, _licence(card), find_format(card.released).SOURCE if card.released else "")
    origin = _origin(model.folder)
    settings = origin.get("settings", {})
    place, training = _find_training(Workspace(home=home), digest)
    return Facts(
        known.method, known.weights, known.licence, known.source,
        imported=origin.get("imported", {}),
        name=training.name if training else "",
        dataset=place.cohort if place and not card.released else "",
        simulated=bool(place and place.simulated),
        data_version=origin.get("data_version", ""),
        preset=training.preset_text if training and not card.released else "",
        untrained=bool(training and digest == training.run.untrained_digest != training.run.checkpoint_digest),
        seed=settings.get("seed") if not card.released else None,
        settings={name: settings[name] for name in SETTINGS if name in settings},
        results=_results(home, digest),
    )  # fmt: skip


def _licence(card: ModelCard) -> str:
    return find_format(card.released).LICENCE if card.released else OF_DATA


def _origin(folder: Path) -> dict[str, Any]:
    """What made the run; empty for a folder that is no finished run."""
    if not (folder / RESULT).is_file() or not (folder / ORIGIN).is_file():
        return {}
    content: dict[str, Any] = json.loads(expect_recorded(folder / ORIGIN).read_text(encoding="utf-8"))
    return content


def _find_training(workspace: Workspace, digest: str) -> tuple[Pretraining | None, Training | None]:
    try:
        found = find_pretrainings(workspace)
    except UserError:
        return None, None
    for place in found:
        for training in place.trainings:
            if digest in (training.run.checkpoint_digest, training.run.untrained_digest):
                return place, training
    return None, None


def _results(home: str, digest: str) -> tuple[Mapping[str, Any], ...]:
    """Means over classes of everything that was measured of these weights, by dataset and task."""
    try:
        table = read_results(
            Workspace(home=home).home_path(), {"checkpoint": digest, "source": MEASURED}, lambda _: None
        )
    except (UserError, OSError):
        table = RESULTS.empty_table()
    rows = [row for row in table.to_pylist() if row["class"] == MACRO and row["value"] is not None]
    return tuple(sorted(rows, key=lambda row: tuple(row[name] for name in ("cohort", "task", "setting", "metric"))))
