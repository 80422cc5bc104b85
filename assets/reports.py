"""Group `report_parsing`: sections and sentences of the reports, what they say, and the knowledge base."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from assets import previews
from assets.batched import KINDS, Metadata, batched_asset
from assets.members import for_every_member
from assets.settings.launchpad import launchpad_config, settings_of
from assets.workspace import WorkspaceResource, identify, one_sentence
from ingestion.pipeline import REPORT_LABELS, REPORTS, TRIPLETS
from ingestion.previews import summaries
from ingestion.tables.exports import KNOWLEDGE_CODE, KnowledgeSettings, write_knowledge, write_report_graphs
from ingestion.workspace import Workspace
from store import batches
from store.batches import Plan
from store.code import code_version
from store.digests import file_digest, fingerprint

GROUP = "report_parsing"
EXAMPLES = 6

KnowledgeConfig = launchpad_config(KnowledgeSettings)


def _preview_reports(workspace: Workspace, plan: Plan) -> Metadata:
    folder = workspace.folder("reports")

    def read(*columns: str, verified: bool = True) -> Iterator[pa.Table]:
        return (batches.read_batches(folder, part, columns, verified) for part in plan.parts())

    metadata: Metadata = {
        **summaries.summarize_reports(read("text", "sentences")),
        "languages": previews.counts(read("language", verified=False), "language"),
        **previews.reasons(batches.read_rejects(folder, plan)),
    }
    if workspace.may_show_text():
        metadata["examples"] = previews.head(next(read("study_id", "text")), ("study_id", "text"), 4)
    return metadata


reports = batched_asset(
    REPORTS,
    GROUP,
    "Reports cut into sections and sentences, with the pretraining text; one row per study.",
    _preview_reports,
)


def _preview_triplets(workspace: Workspace, plan: Plan) -> Metadata:
    entities, positions = summaries.count_triplets(workspace, plan)
    metadata: Metadata = {
        "entities seen": entities.num_rows,
        "positions seen": positions.num_rows,
        "entities": previews.head(entities, entities.column_names, entities.num_rows),
        "positions": previews.head(positions, positions.column_names, positions.num_rows),
        **previews.reasons(batches.read_rejects(workspace.folder("triplets"), plan)),
    }
    if plan.settings["radgraph"]:  # its sentences are not those of the reports
        coverage = summaries.measure_coverage(workspace, plan)
        return metadata | {
            "studies": coverage.studies,
            "studies with no triplet": coverage.silent,
            "unusable graphs": coverage.unusable.total(),
            "why unusable": previews.markdown_table(("reason", "graphs"), sorted(coverage.unusable.items())),
        }
    sentences, silent = summaries.count_silent_sentences(workspace, plan)
    metadata |= {"sentences": sentences, "share of sentences with no triplet": silent / max(sentences, 1)}
    if workspace.may_show_text() and plan.batches:
        speaking, others = summaries.list_example_sentences(workspace, plan)
        metadata["example sentences"] = previews.head(speaking, ("study_id", "text", "triplets"), EXAMPLES)
        metadata["examples with no triplet"] = previews.head(others, ("study_id", "text"), EXAMPLES)
    return metadata


triplets = batched_asset(
    TRIPLETS,
    GROUP,
    "What each sentence says: entity, position, and whether present, absent or uncertain.",
    _preview_triplets,
)


def _preview_labels(workspace: Workspace, plan: Plan) -> Metadata:
    counts = summaries.count_report_labels(workspace, plan)
    return {
        "labels": previews.markdown_table(counts.column_names, [list(row.values()) for row in counts.to_pylist()]),
        **previews.reasons(batches.read_rejects(workspace.folder("report_labels"), plan)),
    }


report_labels = batched_asset(
    REPORT_LABELS,
    GROUP,
    "The 14 CheXpert labels of every report: 1 positive, 0 negative, -1 uncertain, else empty.",
    _preview_labels,
)


@dg.asset(group_name=GROUP, kinds=KINDS)
@for_every_member
def knowledge(
    config: KnowledgeConfig,  # type: ignore[valid-type]
    workspace: WorkspaceResource,
) -> dg.MaterializeResult[Any]:
    """Descriptions of MedKLIP's 75 entities, in our own words with their sources, and its 51 positions.

    Beside them `unseen.parquet`: findings outside the vocabulary, shipped and the user's own, for zero-shot queries.
    """
    with one_sentence():
        base = write_knowledge(workspace.plain(), settings_of(config, KnowledgeSettings))
    table, unseen = base.table(), base.unseen_table()
    columns = ("kind", "name", "description", "source")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "version": base.version,
            "code_version": code_version(*KNOWLEDGE_CODE),
            "kinds": previews.counts(table, "kind"),
            "preview": previews.head(table, columns),
            "unseen": previews.head(unseen, columns, unseen.num_rows),
            **identify(workspace.plain()),
        },
        data_version=dg.DataVersion(fingerprint(base.version, unseen.to_pylist())),
    )


@dg.asset(group_name=GROUP, kinds={"python", "json"}, deps=["reports"])
@for_every_member
def graphs(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> dg.MaterializeResult[Any]:
    """Entities and relations of every report as RadGraph's JSON, study by study; no job makes it by itself.

    What is read is what the triplets are read from: findings, impression or last paragraph. The option `radgraph` of
    `triplets` takes such a file.
    """
    counts = write_report_graphs(workspace.plain(), context.log.info)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": counts.reports,
            "path": dg.MetadataValue.path(str(counts.path)),
            "entities": previews.markdown_table(("label", "entities"), sorted(counts.labels.items())),
            "relations": previews.markdown_table(("relation", "pairs"), sorted(counts.relations.items())),
            **identify(workspace.plain()),
        },
        data_version=dg.DataVersion(file_digest(counts.path)),
    )
