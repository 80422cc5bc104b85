"""Group `report_parsing`: sections and sentences of the reports, and the knowledge base."""

from typing import Any

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from assets import batches, previews
from assets.batched import Metadata, Stage, Work, batched_asset
from assets.batches import Computed, Plan
from assets.code_version import code_version
from assets.inventory import TEXTS
from assets.workspace import CHECKOUT, Workspace

GROUP = "report_parsing"
KNOWLEDGE_CODE = (
    *("report_parsing/knowledge.py", "report_parsing/descriptions.py", "report_parsing/vocabulary.py"),
    *("report_parsing/term_index.py", "report_parsing/similar_words.py", "report_parsing/data"),
)


class ReportsConfig(dg.Config):
    """Which part of a report is the pretraining text."""

    sections: list[str] = Field(
        ["findings", "impression"], description="Sections that make up the pretraining text, in order."
    )
    required: list[str] = Field(
        ["findings"], description="A report that lacks one of these sections is rejected (no_findings)."
    )
    minimum_tokens: int = Field(3, ge=1, description="A shorter text is rejected (too_short).")


def _section(work: Work) -> Computed:
    from cohorts.ingest import section_batch
    from report_parsing.reports import ReportOptions

    options = ReportOptions(
        sections=tuple(work.settings["sections"]),
        required=tuple(work.settings["required"]),
        minimum_tokens=work.settings["minimum_tokens"],
    )
    return section_batch(work.workspace.open_cohort(), pq.read_table(work.inputs["inventory"]), options)


def _preview_reports(workspace: Workspace, plan: Plan) -> Metadata:
    folder = workspace.folder("reports")
    reports = batches.read_batches(folder, plan, ("study_id", "text", "sentences"))
    rejects = batches.read_rejects(folder, plan)
    characters = pc.utf8_length(reports["text"])
    metadata: Metadata = {
        "mean characters": pc.mean(characters).as_py(),
        "mean sentences": pc.mean(pc.list_value_length(reports["sentences"])).as_py(),
        "distinct texts": pc.count_distinct(reports["text"]).as_py(),
    }
    if rejects is not None and rejects.num_rows:
        metadata["reject reasons"] = previews.counts(rejects, "reason")
    if workspace.may_show_text():
        metadata["examples"] = previews.head(reports, ("study_id", "text"), 4)
    return {name: value for name, value in metadata.items() if value is not None}


reports = batched_asset(
    Stage(
        name="reports",
        group=GROUP,
        description="Reports cut into sections and sentences, with the pretraining text; one row per study.",
        upstream=("inventory",),
        aspect=TEXTS,
        code=("report_parsing/sections.py", "report_parsing/reports.py", "cohorts/ingest.py"),
        config=ReportsConfig,
        compute=_section,
        preview=_preview_reports,
    )
)


class KnowledgeConfig(dg.Config):
    """What can be asked for by description, beside what is shipped."""

    descriptions: str = Field(
        "",
        description="CSV file of your own findings, relative to the checkout: kind,name,aliases,description,source, "
        "where kind is `unseen` and aliases are joined by |. Empty: none.",
    )


@dg.asset(group_name=GROUP, kinds={"python", "parquet"})
def knowledge(config: KnowledgeConfig, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """Descriptions of MedKLIP's 75 entities, in our own words with their sources, and its 51 positions.

    Beside them `unseen.parquet`: findings outside the vocabulary, shipped and the user's own, for zero-shot queries.
    """
    from report_parsing.descriptions import DescriptionError
    from report_parsing.knowledge import KnowledgeBase

    try:
        base = KnowledgeBase.default(CHECKOUT / config.descriptions if config.descriptions else None)
    except DescriptionError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    table, unseen = base.table(), base.unseen_table()
    batches.write_table(table, workspace.folder("knowledge") / "knowledge.parquet")
    batches.write_table(unseen, workspace.folder("knowledge") / "unseen.parquet")
    columns = ("kind", "name", "description", "source")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "version": base.version,
            "code_version": code_version(*KNOWLEDGE_CODE),
            "kinds": previews.counts(table, "kind"),
            "preview": previews.head(table, columns),
            "unseen": previews.head(unseen, columns, unseen.num_rows),
        }
    )
