"""What pages and commands show of a stage: distributions, coverage and examples, as small tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.stages.triplets import read_radgraph
from ingestion.stages.unparsed import find_unparsed
from store import batches

if TYPE_CHECKING:
    from ingestion.workspace import Workspace
    from store.batches import Plan

HEADER_COLUMNS = ("image_id", "dropped", "burned_in")
BURNED_IN = {True: "yes", False: "no", None: "not said"}

# Every sentence that is read, and whether it says anything.
_SENTENCES = """
with spans as (
    select study_id, unnest(sentences) as span, unnest(range(len(sentences))) as sentence from reports
), said as (
    select distinct study_id, sentence, true as speaks from triplets
)
select count(*) as sentences, count(*) filter (speaks is null) as silent
from spans left join said using (study_id, sentence) where list_contains($sections, span.section)
"""
# The first sentences of some reports, with their triplets if they have any.
_EXAMPLES = """
with spans as (
    select study_id, unnest(sentences) as span, unnest(range(len(sentences))) as sentence from reports
), said as (
    select study_id, sentence,
        string_agg(entity || ' @ ' || position || ' = ' || exists, '; ' order by start) as triplets
    from triplets group by study_id, sentence
)
select study_id, span.text as text, triplets from spans left join said using (study_id, sentence)
where list_contains($sections, span.section) order by study_id, sentence
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


@dataclass(frozen=True)
class HeaderSummary:
    """What the headers of decoded images held of their patients: names and counts only."""

    dropped: Sequence[tuple[str, int]]  # keyword of an identifying attribute, and the images that had it
    burned_in: dict[str, int]  # whether annotation is burned into the pixels, where nothing can drop it -> images
    images_with_annotation: pa.Table


def summarize_headers(images: pa.Table) -> HeaderSummary:
    """Summarize HEADER_COLUMNS of decoded images."""
    attributes = pc.value_counts(pc.list_flatten(images["dropped"])).to_pylist()
    dropped = sorted(((row["values"], row["counts"]) for row in attributes), key=lambda pair: (-pair[1], pair[0]))
    counts = Counter(images["burned_in"].to_pylist())
    named = {word: counts[value] for value, word in BURNED_IN.items()}
    return HeaderSummary(dropped, named, images.filter(pc.field("burned_in")))


def summarize_reports(reports: pa.Table) -> dict[str, float]:
    """Lengths of the texts, and how many differ."""
    found = {
        "mean characters": pc.mean(pc.utf8_length(reports["text"])).as_py(),
        "mean sentences": pc.mean(pc.list_value_length(reports["sentences"])).as_py(),
        "distinct texts": pc.count_distinct(reports["text"]).as_py(),
    }
    return {name: value for name, value in found.items() if value is not None}


def count_triplets(workspace: Workspace, plan: Plan) -> tuple[pa.Table, pa.Table]:
    """How often each entity and each position is named."""
    columns = ("entity", "position", "exists")
    with duckdb.connect() as database:
        database.register("triplets", batches.read_batches(workspace.folder("triplets"), plan, columns))
        return database.sql(_BY_ENTITY).to_arrow_table(), database.sql(_BY_POSITION).to_arrow_table()


def count_silent_sentences(workspace: Workspace, plan: Plan) -> tuple[int, int]:
    """The sentences that are read, and those that have no triplet."""
    from report_parsing.statements.triplets import READ_SECTIONS

    wanted = ("study_id", "language", "sentences.list.element.section")
    reports = batches.read_batches(workspace.folder("reports"), columns=wanted)
    reports = reports.filter(pc.invert(find_unparsed(reports)))
    with duckdb.connect() as database:
        columns = ("study_id", "sentence")
        database.register("triplets", batches.read_batches(workspace.folder("triplets"), plan, columns))
        database.register("reports", reports)
        sentences, silent = database.execute(_SENTENCES, {"sections": list(READ_SECTIONS)}).fetchone() or (0, 0)
    return sentences, silent


def list_example_sentences(workspace: Workspace, plan: Plan) -> tuple[pa.Table, pa.Table]:
    """Sentences of the first batch with their triplets, and those that have none."""
    from report_parsing.statements.triplets import READ_SECTIONS

    first = plan.batches[0]
    with duckdb.connect() as database:
        for stage, fingerprint in (("triplets", first.fingerprint), ("reports", first.inputs["reports"])):
            file = batches.open_batch(workspace.folder(stage), batches.Batch(first.name, fingerprint))
            database.register(stage, pq.read_table(file))
        table = database.sql(_EXAMPLES, params={"sections": list(READ_SECTIONS)}).to_arrow_table()
    speaks = pc.field("triplets").is_valid()
    return table.filter(speaks), table.filter(~speaks)


@dataclass(frozen=True)
class Coverage:
    """How many studies a RadGraph file speaks of, and what of the file cannot be used."""

    studies: int
    silent: int
    unusable: Counter[str]  # reason -> graphs


def measure_coverage(workspace: Workspace, plan: Plan) -> Coverage:
    """Compare the studies of the reports with those of the RadGraph file that the triplets are from."""
    _, unusable = read_radgraph(Path(plan.settings["radgraph"]), plan.settings["radgraph_digest"])
    studies = pc.unique(batches.read_batches(workspace.folder("reports"), columns=("study_id",))["study_id"])
    speaking = pc.unique(batches.read_batches(workspace.folder("triplets"), plan, ("study_id",))["study_id"])
    return Coverage(len(studies), len(studies) - len(speaking), unusable)


def count_report_labels(workspace: Workspace, plan: Plan) -> pa.Table:
    """How many reports have each value of each CheXpert label."""
    from report_parsing.vocabulary import CHEXPERT_14, NEGATIVE, POSITIVE, UNCERTAIN

    labels = batches.read_batches(workspace.folder("report_labels"), plan)
    values = {"positive": POSITIVE, "uncertain": UNCERTAIN, "negative": NEGATIVE}
    rows = [
        {
            "label": label,
            **{name: pc.sum(pc.equal(labels[label], value)).as_py() or 0 for name, value in values.items()},
            "blank": labels[label].null_count,
        }
        for label in CHEXPERT_14
    ]
    return pa.Table.from_pylist(rows)
