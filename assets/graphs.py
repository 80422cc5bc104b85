"""Group `report_parsing`: our parse of all reports as one file in RadGraph's published form, on demand."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from assets import previews
from assets.reports import GROUP
from assets.workspace import Workspace
from store import batches

if TYPE_CHECKING:
    from report_parsing.radgraph.graph import Graph

FILE = "graphs.json"
SAY_EVERY = 30.0  # seconds


@dg.asset(group_name=GROUP, kinds={"python", "json"}, deps=["reports"])
def graphs(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Entities and relations of every report as RadGraph's JSON, study by study; no job makes it by itself.

    What is read is what the triplets are read from: findings, impression or last paragraph. The option `radgraph` of
    `triplets` takes such a file.
    """
    from report_parsing.radgraph.files import write_graphs

    path = workspace.folder("graphs") / FILE
    reports = batches.read_batches(workspace.folder("reports"))
    labels: Counter[str] = Counter()
    relations: Counter[str] = Counter()
    write_graphs(path, _parsed(reports, context.log, labels, relations))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": reports.num_rows,
            "path": dg.MetadataValue.path(str(path)),
            "entities": previews.markdown_table(("label", "entities"), sorted(labels.items())),
            "relations": previews.markdown_table(("relation", "pairs"), sorted(relations.items())),
        }
    )


def _parsed(
    reports: pa.Table, log: dg.DagsterLogManager, labels: Counter[str], relations: Counter[str]
) -> Iterator[tuple[str, "Graph"]]:
    """(study_id, graph) of every report, counted and told on the way."""
    from report_parsing.statements.relations import GraphParser
    from report_parsing.statements.triplets import READ_SECTIONS

    parser = GraphParser()
    told = time.monotonic()
    columns = (reports[name].to_pylist() for name in ("study_id", "report", "sentences"))
    for done, (study, report, sentences) in enumerate(zip(*columns, strict=True)):
        spans = [(item["start"], item["end"]) for item in sentences if item["section"] in READ_SECTIONS]
        graph = parser.parse_report(report, spans)
        labels.update(entity.label for entity in graph.entities.values())
        relations.update(kind for entity in graph.entities.values() for kind, _ in entity.relations)
        if time.monotonic() - told > SAY_EVERY:
            told = time.monotonic()
            log.info(f"graphs: {done} of {reports.num_rows} reports")
        yield study, graph
