"""Group `evaluation`: the tables of the four papers, measured beside published, as files that one can publish."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from assets import previews, tracking
from assets.evaluated import GROUP, latest_results
from assets.examination import WEIGHTS, Network
from assets.films import CohortFilms
from assets.training_runs import is_trained, trained_run
from assets.workspace import PHANTOM, Workspace

if TYPE_CHECKING:
    from evaluation.comparisons import Pair
    from evaluation.table_formats import Publication

FOLDER = "tables"  # under the results
PAGE = "index.html"
MLFLOW = "http://127.0.0.1:5000"  # where `make ui` has it


class TablesConfig(dg.Config):
    """What the tables need to know besides the results."""

    mlflow_url: str = Field(
        default=MLFLOW, description="Where MLflow is served: measured numbers link to their run there."
    )


@dg.asset(name="tables", group_name=GROUP, kinds={"html", "csv"}, deps=["results"])
def tables_asset(
    context: dg.AssetExecutionContext, config: TablesConfig, workspace: Workspace
) -> dg.MaterializeResult[Any]:
    """Every table of the four papers rebuilt: measured, published, difference, what differs; and which methods differ.

    Written to results/tables: a page for the browser, Markdown, CSV and LaTeX. The published numbers become rows of
    `results`, whose source is the table that each is printed in.
    """
    import pyarrow.parquet as pq

    from evaluation.comparisons import compare_methods
    from evaluation.errors import EvaluationError
    from evaluation.publication import paper_tables
    from evaluation.published import published_results
    from evaluation.results import FOLDER as RESULTS_FOLDER
    from evaluation.table_formats import Publication
    from shards.atomic import replacing

    results = workspace.home_path() / RESULTS_FOLDER
    with replacing(results / "published.parquet") as partial:
        pq.write_table(published_results(), partial)
    measured = latest_results(workspace, every_cohort=True)
    cohort = workspace.cohort_name()
    pairs = [*compare_methods(measured, results), *_tested_by_class(context, workspace, measured)]
    publication = Publication(paper_tables(measured), pairs, cohort, simulated=cohort == PHANTOM)
    runs = {run for run in measured["mlflow_run"].to_pylist() if run}
    try:
        files = _files(publication, _links(workspace, config.mlflow_url, runs))
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
    """DeLong's tests of zero-shot classification on this cohort, of the methods that it was measured for.

    Their answers are kept beside their weights.
    """
    from evaluation.comparisons import UNTRAINED, compare_scores
    from evaluation.zero_shot_classification import TASK

    here = {"cohort": workspace.cohort_name(), "task": TASK}
    rows = [row for row in measured.to_pylist() if here.items() <= row.items()]
    scores: dict[str, np.ndarray] = {}
    cohort = CohortFilms(workspace)
    methods = {row["method"].removeprefix(UNTRAINED) for row in rows}
    for method in sorted(method for method in methods if is_trained(workspace, method)):
        run = trained_run(workspace, method)
        for weights, name in zip(WEIGHTS, (method, UNTRAINED + method), strict=True):
            network = Network(cohort, run, weights, context.log.info)
            examined = network.examine("test")
            scores[name] = examined.answers.scores
    if not scores:
        return []
    place = {**here, "setting": rows[0]["setting"], "seed": rows[0]["seed"]}
    return compare_scores(place, examined.truth.labels, scores, network.classes, examined.truth.subjects)


def _files(publication: "Publication", links: dict[str, str]) -> dict[str, str]:
    """Text by file name."""
    from evaluation.table_formats import as_csv, as_latex, as_markdown
    from evaluation.tables_page import as_html

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
