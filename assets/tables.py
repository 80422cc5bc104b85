"""Group `evaluation`: the tables of the four papers, measured beside published, as files that one can publish."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from assets import previews
from assets.evaluated import GROUP, latest_results
from assets.leakage import FILE as LEAKS_FILE
from assets.leakage import LEAKAGE
from assets.workspace import WorkspaceResource
from evaluation.dataset import EvaluationDataset
from evaluation.metrics.values import ZERO_SHOT
from evaluation.predictions import WEIGHTS, Predictions
from ingestion.workspace import Workspace
from models.registry import method_names
from tracking import tracker as tracking
from tracking.runs import known_runs

if TYPE_CHECKING:
    from evaluation.tables.comparisons import Pair
    from evaluation.tables.texts import Publication

FOLDER = "tables"  # under the results
PAGE = "index.html"
MLFLOW = "http://127.0.0.1:5000"  # where `make ui` has it


class TablesConfig(dg.Config):
    """What the tables need to know besides the results."""

    mlflow_url: str = Field(
        default=MLFLOW, description="Where MLflow is served: measured numbers link to their run there."
    )


@dg.asset(name="tables", group_name=GROUP, kinds={"html", "csv"}, deps=["results", LEAKAGE])
def tables_asset(
    context: dg.AssetExecutionContext, config: TablesConfig, workspace: WorkspaceResource
) -> dg.MaterializeResult[Any]:
    """Every table of the four papers rebuilt: measured, published, difference, what differs; and which methods differ.

    Written to results/tables: a page for the browser, Markdown, CSV and LaTeX. The published numbers become rows of
    `results`, whose source is the table that each is printed in.
    """
    import pyarrow.parquet as pq

    from evaluation.errors import EvaluationError
    from evaluation.results.store import FOLDER as RESULTS_FOLDER
    from evaluation.tables.comparisons import compare_methods
    from evaluation.tables.paper_tables import paper_tables
    from evaluation.tables.published import published_results
    from evaluation.tables.texts import Publication
    from store.atomic import replacing

    place = workspace.plain()
    results = place.home_path() / RESULTS_FOLDER
    with replacing(results / "published.parquet") as partial:
        pq.write_table(published_results(), partial)
    measured = latest_results(place, every_cohort=True)
    cohort = place.cohort_name()
    pairs = [*compare_methods(measured, results), *_tested_by_class(context, place, measured)]
    publication = Publication(paper_tables(measured), pairs, cohort, _leaks(results, cohort))
    runs = {run for run in measured["mlflow_run"].to_pylist() if run}
    try:
        files = _files(publication, _links(place, config.mlflow_url, runs))
    except EvaluationError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    for name, text in files.items():
        with replacing(results / FOLDER / name) as partial:
            partial.write_text(text, encoding="utf-8")
    lines = [line for table in publication.tables for line in table.lines]
    filled = [
        (table.paper, table.title, sum(line.measured is not None for line in table.lines), len(table.lines))
        for table in publication.tables
    ]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(lines),
            "measured beside published": sum(line.difference is not None for line in lines),
            "pairs": len(pairs),
            "page": dg.MetadataValue.path(str(results / FOLDER / PAGE)),
            "tables": previews.markdown_table(("paper", "table", "measured", "rows"), filled),
        }
    )


def _tested_by_class(context: dg.AssetExecutionContext, workspace: Workspace, measured: pa.Table) -> list["Pair"]:
    """DeLong's tests of zero-shot classification on this cohort, of the networks that it was measured for.

    Their answers are kept beside their weights. Networks of one seed are compared with each other.
    """
    from evaluation.results.summary import is_simulated
    from evaluation.tables.comparisons import UNTRAINED, compare_scores

    here = {"cohort": workspace.cohort_name(), "task": "zero_shot_classification"}
    rows = [row for row in measured.to_pylist() if here.items() <= row.items() and row["value"] is not None]
    answered = {(row["method"], row["seed"]) for row in rows}
    simulated = any(map(is_simulated, rows))
    dataset = EvaluationDataset(workspace)
    runs = [run for method in method_names() for run in known_runs(workspace, method)]
    pairs: list[Pair] = []
    for seed in sorted({run.seed for run in runs}):
        scores: dict[str, np.ndarray] = {}
        for run in (run for run in runs if run.seed == seed and (run.name, seed) in answered):
            for weights, name in zip(WEIGHTS, (run.name, UNTRAINED + run.name), strict=True):
                scores[name] = Predictions(dataset, run, weights, context.log.info).zero_shot("test").scores
        if scores:
            place = {**here, "setting": ZERO_SHOT, "seed": seed, "repeat": 0, "simulated": simulated}
            images, classes = dataset.images("test"), dataset.query_labels
            pairs += compare_scores(place, dataset.label_values(images, classes), scores, classes, images.subjects)
    return pairs


def _leaks(results: Path, cohort: str) -> list[str]:
    """What the check of the test splits found, where it was of networks that were pretrained on the cohort."""
    path = results / LEAKS_FILE
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return list(told["found"]) if told.get("pretraining") == cohort else []


def _files(publication: "Publication", links: dict[str, str]) -> dict[str, str]:
    """Text by file name."""
    from evaluation.tables.formats import as_csv, as_latex, as_markdown
    from evaluation.tables.page import as_html

    return {
        PAGE: as_html(publication, links),
        "tables.md": as_markdown(publication),
        "tables.csv": as_csv(publication),
        "tables.tex": as_latex(publication),
    }


def _links(workspace: Workspace, address: str, runs: set[str]) -> dict[str, str]:
    """Address of the page of each run in MLflow; none where nothing was tracked."""
    home = workspace.home_path()
    if not runs or not tracking.has_store(home):
        return {}
    experiment = tracking.experiment_id(home)
    return {run: f"{address.rstrip('/')}/#/experiments/{experiment}/runs/{run}" for run in runs}
