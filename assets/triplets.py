"""Group `report_parsing`: what the sentences say, as triplets, and the 14 CheXpert labels that follow."""

from __future__ import annotations

from functools import cache
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets import batches, previews
from assets.batched import Metadata, Stage, Work, batched_asset
from assets.batches import Computed, Plan
from assets.reports import GROUP
from assets.workspace import Workspace

EXAMPLES = 6

# Every sentence that is read, with its triplets if it has any; {reports} and {triplets} are Parquet files.
_SENTENCES = """
with spans as (
    select study_id, report, unnest(sentences) as span, unnest(range(len(sentences))) as sentence from reports
), said as (
    select study_id, sentence,
        string_agg(entity || ' @ ' || position || ' = ' || exists, '; ' order by start) as triplets
    from triplets group by study_id, sentence
)
select study_id, report[span.start + 1 : span.end] as text, triplets
from spans left join said using (study_id, sentence)
where list_contains($sections, span.section)
order by study_id, sentence
"""
_BY_ENTITY = """
select entity, count(*) as triplets, count(*) filter (exists = 'present') as present,
    count(*) filter (exists = 'uncertain') as uncertain, count(*) filter (exists = 'absent') as absent
from triplets group by entity order by triplets desc, entity
"""
_BY_POSITION = """
select position, count(*) as triplets, count(*) filter (exists = 'present') as present
from triplets group by position order by triplets desc, position
"""


@cache
def _parser() -> Any:
    """One parser per process: it takes a moment to set up, and it remembers sentences."""
    from report_parsing.triplets import TripletParser

    return TripletParser()


def _extract(work: Work) -> Computed:
    return _parser().parse_table(pq.read_table(work.inputs["reports"])), None


def _preview_triplets(workspace: Workspace, plan: Plan) -> Metadata:
    from report_parsing.triplets import READ_SECTIONS

    with duckdb.connect() as database:
        database.register("triplets", batches.read_batches(workspace.folder("triplets"), plan))
        database.register("reports", batches.read_batches(workspace.folder("reports")))
        entities = database.sql(_BY_ENTITY).to_arrow_table()
        positions = database.sql(_BY_POSITION).to_arrow_table()
        sentences = database.sql(_SENTENCES, params={"sections": list(READ_SECTIONS)}).to_arrow_table()
    silent = sentences.filter(pc.field("triplets").is_null())
    metadata: Metadata = {
        "entities seen": entities.num_rows,
        "positions seen": positions.num_rows,
        "sentences": sentences.num_rows,
        "share of sentences with no triplet": silent.num_rows / max(sentences.num_rows, 1),
        "entities": previews.head(entities, entities.column_names, entities.num_rows),
        "positions": previews.head(positions, positions.column_names, positions.num_rows),
    }
    if workspace.may_show_text():
        speaking = sentences.filter(pc.field("triplets").is_valid())
        metadata["example sentences"] = previews.head(speaking, ("study_id", "text", "triplets"), EXAMPLES)
        metadata["examples with no triplet"] = previews.head(silent, ("study_id", "text"), EXAMPLES)
    return metadata


triplets = batched_asset(
    Stage(
        name="triplets",
        group=GROUP,
        description="What each sentence says: entity, position, and whether present, absent or uncertain.",
        upstream=("reports",),
        code=("report_parsing",),
        compute=_extract,
        preview=_preview_triplets,
    )
)


def _label(work: Work) -> Computed:
    from report_parsing.chexpert import label_table

    tables = {name: pq.read_table(path) for name, path in work.inputs.items()}
    return label_table(tables["reports"]["study_id"], tables["triplets"]), None


def _preview_labels(workspace: Workspace, plan: Plan) -> Metadata:
    from report_parsing.chexpert import LABELS, NEGATIVE, POSITIVE, UNCERTAIN

    labels = batches.read_batches(workspace.folder("report_labels"), plan)
    values = {"positive": POSITIVE, "uncertain": UNCERTAIN, "negative": NEGATIVE}
    counts = [
        (
            label,
            *(pc.sum(pc.equal(labels[label], value)).as_py() or 0 for value in values.values()),
            labels[label].null_count,
        )
        for label in LABELS
    ]
    return {"labels": previews.markdown_table(("label", *values, "blank"), counts)}


report_labels = batched_asset(
    Stage(
        name="report_labels",
        group=GROUP,
        description="The 14 CheXpert labels of every report: 1 positive, 0 negative, -1 uncertain, else empty.",
        upstream=("reports", "triplets"),
        code=("report_parsing/chexpert.py", "report_parsing/data/chexpert.csv"),
        compute=_label,
        preview=_preview_labels,
    )
)
