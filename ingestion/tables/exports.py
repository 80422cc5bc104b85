"""What is written once for a dataset: the knowledge base, and our parse of all reports as a RadGraph file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from ingestion.stage import keep_settings
from store import batches
from store.seals import write_sealed_table
from store.settings import setting

if TYPE_CHECKING:
    from ingestion.stage import Log
    from ingestion.workspace import Workspace
    from report_parsing.knowledge.base import KnowledgeBase
    from report_parsing.radgraph.graph import Graph

KNOWLEDGE_CODE = ("report_parsing.knowledge.base",)
GRAPHS_FILE = "graphs.json"
LOG_EVERY = 30.0  # seconds


@dataclass(frozen=True)
class KnowledgeSettings:
    """What can be asked for by description, beside what is shipped."""

    descriptions: str = setting(
        "",
        "CSV file of your own findings, relative to the checkout: kind,name,aliases,description,source. The kind is "
        "`unseen`, or `entity` for other words for one of MedKLIP's 75; aliases are joined by |. Empty: none.",
    )


def write_knowledge(workspace: Workspace, settings: KnowledgeSettings) -> KnowledgeBase:
    """Write the knowledge base with the user's own findings: `knowledge.parquet` and `unseen.parquet`."""
    from report_parsing.knowledge.base import KnowledgeBase
    from store.home import based

    base = KnowledgeBase.default(based(settings.descriptions) if settings.descriptions else None)
    write_sealed_table(base.table(), workspace.folder("knowledge") / "knowledge.parquet")
    write_sealed_table(base.unseen_table(), workspace.folder("knowledge") / "unseen.parquet")
    keep_settings(workspace.folder("knowledge"), settings)
    return base


@dataclass
class GraphCounts:
    """What a file of graphs holds."""

    path: Path
    reports: int = 0
    labels: Counter[str] = field(default_factory=Counter)  # of entities
    relations: Counter[str] = field(default_factory=Counter)


def write_report_graphs(workspace: Workspace, log: Log) -> GraphCounts:
    """Write the graphs of all reports, in the order of the studies."""
    from report_parsing.radgraph.files import write_graphs

    reports = batches.read_batches(workspace.folder("reports"), columns=("study_id", "language", "report", "sentences"))
    counts = GraphCounts(workspace.folder("graphs") / GRAPHS_FILE, reports.num_rows)
    write_graphs(counts.path, _parse(reports.sort_by("study_id"), counts, log))
    return counts


def _parse(reports: pa.Table, counts: GraphCounts, log: Log) -> Iterator[tuple[str, Graph]]:
    """(study_id, graph) of every report, counted on the way."""
    from report_parsing.language.gloss import is_parsed
    from report_parsing.statements.relations import GraphParser
    from report_parsing.statements.triplets import READ_SECTIONS

    parser = GraphParser()
    logged = time.monotonic()
    columns = (column.to_pylist() for column in reports)
    for done, (study, language, report, sentences) in enumerate(zip(*columns, strict=True)):
        read = sentences if is_parsed(language) else ()
        spans = [(item["start"], item["end"]) for item in read if item["section"] in READ_SECTIONS]
        graph = parser.parse_report(report, spans)
        counts.labels.update(entity.label for entity in graph.entities.values())
        counts.relations.update(kind for entity in graph.entities.values() for kind, _ in entity.relations)
        if time.monotonic() - logged > LOG_EVERY:
            logged = time.monotonic()
            log(f"graphs: {done} of {reports.num_rows} reports")
        yield study, graph
