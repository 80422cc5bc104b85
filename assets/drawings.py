"""Pictures of what a network says about a cohort: small in Dagster's metadata, whole as files and in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from assets import previews
from assets.examination import Network
from assets.tracking import Tracker
from evaluation.errors import NotAvailableError

PICTURED = 6  # radiographs in the picture of heat maps

Drawing = Callable[[Network, str], bytes]  # a PNG over a note; empty: nothing to draw


def attached(network: Network, tasks: Sequence[str], tracker: Tracker) -> dict[str, Any]:
    """The pictures that belong to the tasks, drawn, kept beside the weights and logged; metadata by name."""
    from evaluation.result_tables import SIMULATION_NOTE

    workspace = network.cohort.workspace
    note = SIMULATION_NOTE if workspace.shows_simulation() else ""
    metadata = {}
    for name, (task, draw) in DRAWINGS.items():
        if task not in tasks:
            continue
        try:
            png = draw(network, note)
        except NotAvailableError:
            continue  # the task itself says so
        if png:
            path = workspace.home_path() / network.run.output / "pictures" / workspace.cohort_name() / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png)
            tracker.log_file(path, f"pictures/{workspace.cohort_name()}")
            metadata[name.replace("_", " ")] = previews.picture(png, name)
    return metadata


def _roc_curves(network: Network, note: str) -> bytes:
    from evaluation.pictures import roc_curves

    test = network.examine("test")
    return roc_curves(test.answers.scores, test.truth.labels, network.classes, note) if len(network.classes) else b""


def _heat_maps(network: Network, note: str) -> bytes:
    """The first test radiograph of each class that has a mask."""
    from evaluation.pictures import heat_maps

    test, classes = network.examine("test"), network.classes
    masks = test.truth.masks
    if not len(masks):
        return b""
    _, chosen = np.unique(masks.columns, return_index=True)
    chosen = chosen[:PICTURED]
    rows, columns = masks.rows[chosen], masks.columns[chosen]
    return heat_maps(
        network.cohort.pixels(network.cohort.films("test"))[rows],
        masks.pixels[chosen],
        test.answers.maps[rows, columns],
        [classes[column] for column in columns],
        note,
    )


DRAWINGS: dict[str, tuple[str, Drawing]] = {  # name -> the task it belongs to, and who draws it
    "roc_curves": ("zero_shot_classification", _roc_curves),
    "heat_maps": ("zero_shot_grounding", _heat_maps),
}
