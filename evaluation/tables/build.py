"""Builds the tables of the papers from the results of a home, and writes them in every format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from cohorts.registry import cohort_names
from evaluation.dataset import EvaluationDataset
from evaluation.leakage.datasets import read_leaks
from evaluation.metrics.values import ZERO_SHOT
from evaluation.predictions import WEIGHTS, Predictions
from evaluation.results.files import FOLDER as RESULTS_FOLDER
from evaluation.results.files import PUBLISHED, Say
from evaluation.results.latest import latest_results
from evaluation.results.store import MEASURED, read_results
from evaluation.results.summary import UNTRAINED, is_simulated
from evaluation.tables.comparisons import (
    Pair,
    Resamples,
    compare_rows,
    compare_scores,
    read_leading_resamples,
)
from evaluation.tables.formats import as_csv, as_latex, as_markdown, matrices_as_csv
from evaluation.tables.matrices import Group, build_group
from evaluation.tables.page import as_html
from evaluation.tables.paper_tables import PaperTable, build_tables
from evaluation.tables.published import tabulate_published
from evaluation.tables.texts import TablesDocument
from ingestion.workspace import Workspace
from models.registry import method_names
from store.atomic import replacing
from store.errors import UserError
from store.seals import write_sealed_table
from tracking import tracker
from tracking.layout import run_address
from tracking.runs import known_runs
from tracking.store import TrackingError

FOLDER = "tables"  # under the results
PAGE = "index.html"


@dataclass(frozen=True)
class WrittenTables:
    """The document and the path of its page."""

    document: TablesDocument
    page: Path


def write_tables(workspace: Workspace, mlflow_url: str, log: Say, warn: Say | None = None) -> WrittenTables:
    """Write the tables as a page, Markdown, CSV and LaTeX, and the published numbers as rows of `results`.

    Measured numbers on the page link to their run under `mlflow_url`. `warn` is told of files that cannot be
    used, `log` where it is not given.
    """
    warn = warn or log
    home, cohort = workspace.home_path(), workspace.cohort_name()
    results = home / RESULTS_FOLDER
    write_sealed_table(tabulate_published(), results / PUBLISHED)
    measured, resamples = read_results(home, {"source": MEASURED}, warn), read_leading_resamples(results, warn)
    groups = [_compare_results(place, measured, resamples) for place in _pretraining_cohorts(workspace)]
    own = groups[0]
    pairs = [*own.pairs, *_compare_classes(workspace, own.latest, log)]
    found = tuple(one.group for one in groups if one.group.matrices)
    document = TablesDocument(own.tables, pairs, cohort, read_leaks(results, cohort, warn), found)
    files = {
        PAGE: as_html(document, _link_runs(workspace, mlflow_url, document)),
        "tables.md": as_markdown(document),
        "tables.csv": as_csv(document),
        "matrices.csv": matrices_as_csv(document),
        "tables.tex": as_latex(document),
    }
    for name, text in files.items():
        with replacing(results / FOLDER / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return WrittenTables(document, results / FOLDER / PAGE)


@dataclass(frozen=True)
class _Compared:
    """The latest results of the networks that were pretrained on one cohort."""

    latest: pa.Table
    tables: list[PaperTable]
    pairs: list[Pair]
    group: Group


def _pretraining_cohorts(workspace: Workspace) -> list[Workspace]:
    """That of the workspace, then all others that networks of this home were pretrained on."""
    places = [Workspace(home=workspace.home, cohort=name) for name in cohort_names() if name != workspace.cohort_name()]
    trained = [place for place in places if any(known_runs(place, method) for method in method_names())]
    return [workspace, *trained]


def _compare_results(workspace: Workspace, measured: pa.Table, resamples: Resamples) -> _Compared:
    latest = latest_results(workspace, every_cohort=True, results=measured)
    tables, pairs = build_tables(latest), compare_rows(latest, resamples)
    return _Compared(latest, tables, pairs, build_group(workspace.cohort_name(), latest.to_pylist(), tables, pairs))


def _compare_classes(workspace: Workspace, latest: pa.Table, log: Say) -> list[Pair]:
    """Compare networks by DeLong's tests of zero-shot classification on this cohort, where they have results of it.

    Their predictions are kept beside their weights. Networks of the same seed are compared. Where the shards cannot be
    read, as in the home of an older version, there is no comparison of classes, and the log says why.
    """
    try:
        return list(_compare_seeds(workspace, latest, log))
    except UserError as error:
        log(f"No comparison of single classes: {error}")
        return []


def _compare_seeds(workspace: Workspace, latest: pa.Table, log: Say) -> Iterator[Pair]:
    here = {"cohort": workspace.cohort_name(), "task": "zero_shot_classification"}
    rows = [row for row in latest.to_pylist() if here.items() <= row.items() and row["value"] is not None]
    predicted = {(row["method"], row["seed"]) for row in rows}
    simulated = any(map(is_simulated, rows))
    dataset = EvaluationDataset(workspace)
    runs = [run for method in method_names() for run in known_runs(workspace, method)]
    for seed in sorted({run.seed for run in runs}):
        scores: dict[str, np.ndarray] = {}
        for run in (run for run in runs if run.seed == seed and (run.name, seed) in predicted):
            for weights, name in zip(WEIGHTS, (run.name, UNTRAINED + run.name), strict=True):
                scores[name] = Predictions(dataset, run, weights, log).zero_shot("test").scores
        if scores:
            place = {**here, "setting": ZERO_SHOT, "seed": seed, "repeat": 0, "simulated": simulated}
            images, classes = dataset.images("test"), dataset.query_labels
            yield from compare_scores(place, dataset.label_values(images, classes), scores, classes, images.subjects)


def _link_runs(workspace: Workspace, address: str, document: TablesDocument) -> dict[str, str]:
    """The address of each run in MLflow; empty where nothing was tracked, or MLflow cannot be used."""
    home = workspace.home_path()
    lines = [line.measured for table in document.tables for line in table.lines if line.measured]
    cells = [cell.measured for group in document.groups for cell in group.cells()]
    runs = {run for found in (*lines, *cells) for run in found.runs}
    if not runs or not tracker.has_store(home):
        return {}
    try:
        experiment = tracker.experiment_id(home)
    except TrackingError:
        return {}
    return {run: run_address(address, experiment, run) for run in runs}
