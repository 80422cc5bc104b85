"""Group `report_parsing`: sections and sentences of the reports, and the knowledge base."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from assets import previews
from assets.batched import Metadata, Stage, Work, batched_asset
from assets.workspace import CHECKOUT, Workspace
from ingestion.inventory import TEXTS
from store import batches
from store.atomic import write_table
from store.batches import Computed, Plan
from store.code import code_version

if TYPE_CHECKING:
    from report_parsing.reports import ReportOptions

GROUP = "report_parsing"
SECTION_CODE = ("ingestion.batches_of_studies",)
KNOWLEDGE_CODE = ("report_parsing.knowledge.base",)


class ReportsConfig(dg.Config):
    """Which part of a report is the pretraining text."""

    sections: list[str] = Field(
        ["findings", "impression"],
        description="Sections that make up the pretraining text, in order: [impression], [findings], "
        "[findings, impression] as ConVIRT, or [impression, findings] as MGCA.",
    )
    required: list[str] = Field(
        ["findings"],
        description="A report that lacks one of these sections is rejected (no_findings, no_impression). With "
        "[], a report without any of the sections gives its last paragraph, or is rejected (no_text).",
    )
    minimum_tokens: int = Field(3, ge=1, description="A shorter text is rejected (too_short); the papers' 3.")
    minimum_sentence_tokens: int = Field(
        1, ge=1, description="Shorter sentences are left out, of the triplets too; MGCA's 2 drops 'Cardiomegaly.'"
    )
    sectioning: str = Field(
        "mended", description="Which headings count: mended, or reference for the published parser of MIMIC-CXR."
    )
    repeated: str = Field(
        "last", description="Which occurrence of a section counts: last, as published, or all of them."
    )

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        report_options(self.model_dump())
        return self


def report_options(settings: Mapping[str, Any]) -> "ReportOptions":
    """The parser's options; ValueError names a choice that does not exist."""
    from report_parsing.reports import ReportOptions

    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
    return ReportOptions(**options)


def _section(work: Work) -> Computed:
    from ingestion.batches_of_studies import section_batch

    studies = pq.read_table(work.inputs["inventory"])
    return section_batch(work.workspace.open_cohort(), studies, report_options(work.settings))


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
        code=SECTION_CODE,
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
    from report_parsing.knowledge.base import KnowledgeBase
    from report_parsing.knowledge.descriptions import DescriptionError

    try:
        base = KnowledgeBase.default(CHECKOUT / config.descriptions if config.descriptions else None)
    except DescriptionError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    table, unseen = base.table(), base.unseen_table()
    write_table(table, workspace.folder("knowledge") / "knowledge.parquet")
    write_table(unseen, workspace.folder("knowledge") / "unseen.parquet")
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
