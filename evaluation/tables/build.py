"""Builds the tables of the papers from the results of a home, and writes them in every format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluation.audit.run import find_pages
from evaluation.dataset import EvaluationDataset
from evaluation.figures.catalogue import EMBEDDED_BY_PAPERS
from evaluation.figures.methods import draw_method_figures
from evaluation.leakage.datasets import read_leaks
from evaluation.metrics.units import UNITS, Scored
from evaluation.predictions import WEIGHTS, Predictions
from evaluation.results.files import FOLDER as RESULTS_FOLDER
from evaluation.results.files import PUBLISHED, Say
from evaluation.results.headlines import Headline, make_headline
from evaluation.results.latest import latest_by_pretraining, latest_results
from evaluation.results.store import MEASURED, read_results
from evaluation.results.summary import UNTRAINED, is_simulated
from evaluation.results.trainings import Pretraining, is_simulation
from evaluation.tables.comparisons import Pair, Resamples, compare_rows, compare_scores, read_leading_resamples
from evaluation.tables.formats import as_csv, as_latex, as_markdown, matrices_as_csv
from evaluation.tables.matrices import build_group
from evaluation.tables.page import as_html
from evaluation.tables.paper_tables import build_tables
from evaluation.tables.published import tabulate_published
from evaluation.tables.sources import find_sources
from evaluation.tables.texts import Picture, TablesDocument
from evaluation.tasks.base import Setting
from ingestion.workspace import Workspace
from models.registry import evaluated_names
from store.atomic import replacing
from store.errors import UserError
from store.seals import write_sealed_table
from tracking import tracker
from tracking.layout import run_address
from tracking.runs import known_runs
from tracking.store import TrackingError

FOLDER = "tables"  # under the results
PAGE = "index.html"
FIGURES = "figures"  # beside the page


@dataclass(frozen=True)
class WrittenTables:
    """The document and the path of its page."""

    document: TablesDocument
    page: Path


@dataclass(frozen=True)
class FigureOptions:
    """What the figures of methods against methods are drawn from."""

    cohort: str = ""  # the dataset; empty: that of the pretraining
    embedded: int = EMBEDDED_BY_PAPERS  # images in a figure of embeddings, at most


def write_tables(
    workspace: Workspace,
    mlflow_url: str,
    log: Say,
    warn: Say | None = None,
    options: FigureOptions = FigureOptions(),
) -> WrittenTables:
    """Write the tables as a page, Markdown, CSV and LaTeX, the figures, and the published numbers as rows of `results`.

    Measured numbers on the page link to their run under `mlflow_url`. `warn` is told of files that cannot be
    used, `log` where it is not given.
    """
    warn = warn or log
    home = workspace.home_path()
    results, folder = home / RESULTS_FOLDER, home / RESULTS_FOLDER / FOLDER
    write_sealed_table(tabulate_published(), results / PUBLISHED)
    measured, resamples = read_results(home, {"source": MEASURED}, warn), read_leading_resamples(results, warn)
    found = latest_by_pretraining(workspace, warn, measured) or [
        (Pretraining(workspace, is_simulation(workspace)), latest_results(workspace, True, warn, measured))
    ]
    tables = build_tables(
        {one.cohort: latest for one, latest in found}, {one.cohort: name_departures(one) for one, _ in found}
    )
    pairs = {one.cohort: _compare(one, latest, resamples) for one, latest in found}
    groups = [
        build_group(one.cohort, latest.to_pylist(), tables, pairs[one.cohort], one.simulated) for one, latest in found
    ]
    classes = [pair for one, latest in found for pair in _compare_classes(one.workspace, latest, log)]
    pictures = {one.cohort: _write_figures(one, latest, folder, options, log) for one, latest in found}
    leaks = {one.cohort: read_leaks(results, one.cohort, warn) for one, _ in found}
    document = TablesDocument(
        tables,
        [*(pair for one, _ in found for pair in pairs[one.cohort]), *classes],
        {one.cohort: one.simulated for one, _ in found},
        list(dict.fromkeys(_say_whose(name, leak, len(found) > 1) for name in leaks for leak in leaks[name])),
        tuple(group for group in groups if group.matrices),
        pictures,
    )
    runs = {row["mlflow_run"] for _, latest in found for row in latest.select(["mlflow_run"]).to_pylist()}
    sources = find_sources(
        [(one, latest.to_pylist()) for one, latest in found], folder, _link_runs(home, mlflow_url, runs - {""})
    )
    files = {
        PAGE: as_html(document, sources, make_headlines(found), find_pages(results)),
        "tables.md": as_markdown(document),
        "tables.csv": as_csv(document),
        "matrices.csv": matrices_as_csv(document),
        "tables.tex": as_latex(document),
    }
    for name, text in files.items():
        with replacing(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return WrittenTables(document, folder / PAGE)


def name_departures(pretraining: Pretraining) -> dict[str, str]:
    """By network, how it was made where that is no training with a paper's preset: a demo's encoder is a small one."""
    found: dict[str, dict[str, None]] = {}
    for training in pretraining.trainings:
        if training.departure:
            found.setdefault(training.run.name, {})[training.departure] = None
    return {name: "; ".join(texts) for name, texts in found.items()}


def make_headlines(found: Sequence[tuple[Pretraining, pa.Table]]) -> dict[str, list[Headline]]:
    """The headlines of all trainings by the cohort of the pretraining."""
    return {
        one.cohort: [make_headline(one, training, rows) for rows in [latest.to_pylist()] for training in one.trainings]
        for one, latest in found
    }


def _write_figures(
    pretraining: Pretraining, latest: pa.Table, folder: Path, options: FigureOptions, log: Say
) -> list[Picture]:
    """The figures of the networks of a pretraining, each as a file below the folder of the tables."""
    found = draw_method_figures(pretraining.workspace, options.cohort, latest.to_pylist(), log, options.embedded)
    pictures = []
    for figure in found:
        path = Path(FIGURES, pretraining.cohort, options.cohort or pretraining.cohort, f"{figure.name}.png")
        with replacing(folder / path) as partial:
            partial.write_bytes(figure.png)
        pictures.append(Picture(figure.title, figure.png, path.as_posix()))
    return pictures


def _say_whose(pretraining: str, leak: str, several: bool) -> str:
    return f"Networks pretrained on {pretraining}: {leak}" if several else leak


def _compare(pretraining: Pretraining, latest: pa.Table, resamples: Resamples) -> list[Pair]:
    return [replace(pair, pretraining=pretraining.cohort) for pair in compare_rows(latest, resamples)]


def _compare_classes(workspace: Workspace, latest: pa.Table, log: Say) -> list[Pair]:
    """Compare networks by DeLong's tests of zero-shot classification on this cohort, where they have results of it.

    Their predictions are kept beside their weights. Networks of the same seed are compared. Where the shards cannot be
    read, as in the home of an older version, there is no comparison of classes, and the log says why.
    """
    try:
        found = [pair for own in workspace.members() for pair in _compare_seeds(workspace, own, latest, log)]
        return [replace(pair, pretraining=workspace.cohort_name()) for pair in found]
    except UserError as error:
        log(f"No comparison of single classes: {error}")
        return []


def _compare_seeds(workspace: Workspace, own: Workspace, latest: pa.Table, log: Say) -> Iterator[Pair]:
    """The networks that were pretrained on the workspace's cohort, on its dataset `own`."""
    here = {"cohort": own.cohort_name(), "task": "zero_shot_classification"}
    rows = [row for row in latest.to_pylist() if here.items() <= row.items() and row["value"] is not None]
    measured = {(row["setting"], row["method"], row["seed"]) for row in rows}
    simulated = any(map(is_simulated, rows))
    dataset = EvaluationDataset(own)
    runs = [run for method in evaluated_names() for run in known_runs(workspace, method)]
    for seed, setting in product(sorted({run.seed for run in runs}), (Setting(unit=unit) for unit in UNITS)):
        scores: dict[str, np.ndarray] = {}
        for run in (run for run in runs if run.seed == seed and (setting.name, run.name, seed) in measured):
            for weights, name in zip(WEIGHTS, (run.name, UNTRAINED + run.name), strict=True):
                scores[name] = Predictions(dataset, run, weights, log).zero_shot("test").scores
        if scores:
            place = {**here, "setting": setting.name, "seed": seed, "repeat": 0, "simulated": simulated}
            images, classes = dataset.images("test"), dataset.query_labels
            scored = Scored.of(images, setting.unit)
            labels = scored.join_labels(dataset.label_values(images, classes))
            averaged = {name: scored.average(found) for name, found in scores.items()}
            yield from compare_scores(place, labels, averaged, classes, scored.subjects)


def _link_runs(home: Path, address: str, runs: Collection[str]) -> dict[str, str]:
    """The address of each run in MLflow; empty where nothing was tracked, or MLflow cannot be used."""
    if not runs or not tracker.has_store(home):
        return {}
    try:
        experiment = tracker.experiment_id(home)
    except TrackingError:
        return {}
    return {run: run_address(address, experiment, run) for run in runs}
