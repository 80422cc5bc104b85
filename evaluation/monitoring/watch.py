"""Follows a finished network on the studies that come after its training: scores them, and compares nights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from evaluation.monitoring.drift import farthest, name_quantity, update_drift
from evaluation.monitoring.nights import FOLDER, Night, Series, series_folder, update_nights
from evaluation.monitoring.settings import MonitoringSettings
from models.compute import AUTOMATIC, Compute
from store.atomic import replacing, write_text
from store.digests import fingerprint
from store.locks import holding

if TYPE_CHECKING:
    from ingestion.workspace import Workspace
    from tracking.runs import TrainedRun

DRIFT = "drift"  # in the folder of a network's nights
LOCK = "monitoring.lock"
RESULTS = "results"
MOST_DRAWN = 60  # nights in a picture, the last ones; the table of the page has all
OVERVIEW = (
    "How far each night, and the last nights together, are from the reference. What has not drifted stays below 1. Red "
    "rings are warnings."
)
QUANTITIES = (
    "Each quantity by night: a value with the range of 95 % of nights without drift in grey and the reference as a "
    "dashed line, or a distance with what is not warned of in grey. The mean AUROC is that of the last nights, with "
    "its 95 % interval. Red rings are warnings of the night by itself."
)

Log = Callable[[str], object]


@dataclass(frozen=True)
class Watched:
    """What is known of the nights of a network."""

    series: Series
    drift: pa.Table  # evaluation.monitoring.drift.DRIFT
    page: Path
    overview: bytes  # a PNG; empty where there is no night

    @property
    def nights(self) -> tuple[Night, ...]:
        """All nights, in their order."""
        return self.series.nights

    def last(self) -> list[dict[str, Any]]:
        """The rows of the last night."""
        return [row for row in self.drift.to_pylist() if self.nights and row["night"] == self.nights[-1].name]

    def warned(self) -> list[str]:
        """The quantities in which the last night differs from the reference."""
        return [name_quantity(row) for row in self.last() if row["warned"]]

    def farthest(self, family: str) -> float:
        """The largest distance of the last night in a family of quantities, as a multiple of its limit."""
        return farthest([row for row in self.last() if row["family"] == family])

    def digest(self) -> str:
        """Digest of all nights and their drift."""
        return fingerprint(dict(self.series.fingerprints), self.drift.to_pylist())


def watch(
    workspace: Workspace,
    run: TrainedRun,
    settings: MonitoringSettings | None = None,
    log: Log = lambda _: None,
    compute: Compute = AUTOMATIC,
    day: str = "",
) -> Watched:
    """Score what came since the last night, compare all nights with the reference, and write the page.

    `workspace` names a version of the tables. `day` is that of the night, today where it is empty. Processes that watch
    the same network wait for each other.
    """
    folder, settings = series_folder(workspace, run), settings or MonitoringSettings()
    with holding(folder / LOCK, f"scores new studies with {run.name}", log):
        series = update_nights(workspace, run, settings, day or date.today().isoformat(), log, compute)
        drift = update_drift(folder / DRIFT, series, settings)
        page, overview = write_page(workspace, run, series, drift.to_pylist())
    return Watched(series, drift, page, overview)


def page_path(workspace: Workspace, run: TrainedRun) -> Path:
    """The page of the nights of a method; its pictures lie beside it."""
    name = run.name.replace(":", "-")
    return workspace.home_path() / RESULTS / FOLDER / f"{workspace.cohort_name()}-{name}.html"


def write_page(
    workspace: Workspace, run: TrainedRun, series: Series, rows: Sequence[dict[str, Any]]
) -> tuple[Path, bytes]:
    """Write the page and its pictures; returns its path and the picture of all nights, empty without nights."""
    from evaluation.monitoring.page import render_page
    from evaluation.monitoring.pictures import draw_overview, draw_quantities

    path = page_path(workspace, run)
    pictures = {}
    if rows:
        drawn = series.nights[-MOST_DRAWN:]
        pictures = {OVERVIEW: draw_overview(drawn, rows), QUANTITIES: draw_quantities(drawn, rows)}
    for end, png in zip(("overview", "quantities"), pictures.values(), strict=False):
        with replacing(path.with_name(f"{path.stem}-{end}.png")) as partial:
            partial.write_bytes(png)
    images = sum(len(night.images) for night in series.nights)
    facts = {
        "dataset": workspace.cohort_name(),
        "network": f"{run.name}, seed {run.seed}, weights {run.checkpoint_digest[:12]}",
        "nights": str(len(series.nights)),
        "images since the training": str(images),
    }
    title = f"New studies of {workspace.cohort_name()}, scored by {run.name}"
    write_text(path, render_page(title, facts, series.nights, rows, pictures, workspace.shows_simulation()))
    return path, pictures.get(OVERVIEW, b"")
