"""Group `evaluation`: the table of all results, and the tables of the papers as files that one can publish."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pyarrow.compute as pc
from pydantic import Field

from assets import previews
from assets.audits.leakage import LEAKAGE
from assets.evaluated import GROUP
from assets.workspace import WorkspaceResource, identify, one_sentence
from evaluation.figures.catalogue import EMBEDDED_BY_PAPERS
from evaluation.metrics.values import MACRO
from tracking.places import pages_address

NAMES = ("pretraining", "method", "cohort", "task", "setting", "metric")
SHOWN = (*NAMES, "value", "low", "high", "n", "seed", "repeat", "checkpoint")
MLFLOW = pages_address()  # for links


def results_asset(methods: Sequence[str]) -> dg.AssetsDefinition:
    """The asset `results`, behind everything that is evaluated."""
    deps = [dg.AssetKey([where, method]) for method in methods for where in ("evaluated", "downstream")]

    @dg.asset(name="results", group_name=GROUP, kinds={"parquet"}, deps=deps)
    def results(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult[Any]:
        """Every number so far, of all methods and datasets, with what produced it.

        The page shows those of the latest trainings on every pretraining cohort of the home, the newest first.
        """
        from evaluation.results.headlines import summarise_as_markdown
        from evaluation.results.latest import join_pretrainings, latest_by_pretraining
        from evaluation.results.store import MEASURED, read_results

        place = workspace.plain()
        with one_sentence():
            table = read_results(place.home_path(), {"source": MEASURED}, context.log.warning)
            found = latest_by_pretraining(place, results=table)
        latest = join_pretrainings(found)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": table.num_rows,
                "methods": previews.counts(latest, "pretraining", "cohort", "method", "task"),
                "numbers": previews.head(latest.filter(pc.equal(latest["class"], MACRO)), SHOWN, 100),
                "tables": dg.MetadataValue.md(summarise_as_markdown(found)),
                **identify(place),
            }
        )

    return results


class TablesConfig(dg.Config):
    """What the tables need to know besides the results."""

    mlflow_url: str = Field(MLFLOW, description="Where MLflow is served, for links from measured numbers to their run.")
    figures_on: str = Field("", description="Dataset of the figures of methods; empty: that of the pretraining.")
    embedded: int = Field(EMBEDDED_BY_PAPERS, ge=5, description="Images at most in the figure of embeddings (t-SNE).")


@dg.asset(name="tables", group_name=GROUP, kinds={"html", "csv"}, deps=["results", LEAKAGE])
def tables_asset(
    context: dg.AssetExecutionContext, config: TablesConfig, workspace: WorkspaceResource
) -> dg.MaterializeResult[Any]:
    """Every table of the papers rebuilt: measured, published, difference, what differs; and which methods differ.

    Written to results/tables: a page for the browser, Markdown, CSV and LaTeX. The published numbers become rows of
    `results`, whose source is the table that each is printed in.
    """
    from evaluation.tables.build import FigureOptions, write_tables

    options = FigureOptions(config.figures_on, config.embedded)
    with one_sentence():
        written = write_tables(workspace.plain(), config.mlflow_url, context.log.info, context.log.warning, options)
    lines = [line for table in written.document.tables for line in table.lines]
    filled = [(table.paper, table.title, table.count_measured(), len(table.lines)) for table in written.document.tables]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(lines),
            "measured beside published": sum(line.difference is not None for line in lines),
            "pairs": len(written.document.pairs),
            "page": dg.MetadataValue.path(str(written.page)),
            "tables": previews.markdown_table(("paper", "table", "measured", "rows"), filled),
            **{name: previews.picture(png, name) for name, png in written.document.named_pictures.items()},
            **identify(workspace.plain()),
        }
    )
