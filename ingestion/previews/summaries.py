"""What pages and commands show of a stage: distributions, coverage and examples, as small tables."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.stages.triplets import read_radgraph
from ingestion.stages.unparsed import find_unparsed
from store import batches
from store.batches import Batch, Plan

if TYPE_CHECKING:
    from ingestion.workspace import Workspace

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
select entity, sum(rows)::bigint as triplets, coalesce(sum(rows) filter (exists = 'present'), 0)::bigint as present,
    coalesce(sum(rows) filter (exists = 'uncertain'), 0)::bigint as uncertain,
    coalesce(sum(rows) filter (exists = 'absent'), 0)::bigint as absent
from triplets group by entity order by triplets desc, entity
"""
_BY_POSITION = """
select position, sum(rows)::bigint as triplets, coalesce(sum(rows) filter (exists = 'present'), 0)::bigint as present
from triplets group by position order by triplets desc, position
"""


@dataclass(frozen=True)
class HeaderSummary:
    """What the headers of decoded images held of their patients: names and counts only."""

    dropped: Sequence[tuple[str, int]]  # keyword of an identifying attribute, and the images that had it
    burned_in: dict[str, int]  # whether annotation is burned into the pixels, where nothing can drop it -> images
    images_with_annotation: pa.Table


def count_rows(tables: Iterable[pa.Table], columns: Sequence[str]) -> pa.Table:
    """How many rows of all tables have each combination of values of `columns`: these, and `rows`."""
    found: pa.Table | None = None
    for table in tables:
        counts = table.group_by(list(columns)).aggregate([([], "count_all")]).rename_columns([*columns, "rows"])
        both = counts if found is None else pa.concat_tables([found, counts])
        found = both.group_by(list(columns)).aggregate([("rows", "sum")]).rename_columns([*columns, "rows"])
    return found if found is not None else pa.table({name: [] for name in (*columns, "rows")})


def summarize_headers(images: Iterable[pa.Table]) -> HeaderSummary:
    """Summarize HEADER_COLUMNS of decoded images, a table after another."""
    attributes: Counter[str] = Counter()
    burned_in: Counter[bool | None] = Counter()
    annotated = []
    for table in images:
        for counted, column in ((attributes, pc.list_flatten(table["dropped"])), (burned_in, table["burned_in"])):
            counted.update({row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()})
        annotated.append(table.filter(pc.field("burned_in")).select(["image_id"]))
    dropped = sorted(attributes.items(), key=lambda pair: (-pair[1], pair[0]))
    named = {word: burned_in[value] for value, word in BURNED_IN.items()}
    return HeaderSummary(dropped, named, pa.concat_tables(annotated))


def summarize_reports(reports: Iterable[pa.Table]) -> dict[str, float]:
    """Lengths of the texts, and how many differ; columns `text` and `sentences`, a table after another."""
    texts = characters = sentences = 0
    digests: list[np.ndarray] = []
    for table in reports:
        texts += table.num_rows
        characters += pc.sum(pc.utf8_length(table["text"])).as_py() or 0
        sentences += pc.sum(pc.list_value_length(table["sentences"])).as_py() or 0
        digests.append(np.unique([_number_of(text) for text in table["text"].to_pylist()]))
    if not texts:
        return {"distinct texts": 0}
    distinct = len(np.unique(np.concatenate(digests)))
    return {"mean characters": characters / texts, "mean sentences": sentences / texts, "distinct texts": distinct}


def _number_of(text: str) -> int:
    """64 bits of a digest of a text: two of 30 million texts have the same once in 40,000 archives."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") - 2**63


def count_triplets(workspace: Workspace, plan: Plan) -> tuple[pa.Table, pa.Table]:
    """How often each entity and each position is named."""
    columns = ("entity", "position", "exists")
    folder = workspace.folder("triplets")
    named = count_rows((batches.read_batches(folder, part, columns) for part in plan.parts()), columns)
    with duckdb.connect() as database:
        database.register("triplets", named)
        return database.sql(_BY_ENTITY).to_arrow_table(), database.sql(_BY_POSITION).to_arrow_table()


def count_silent_sentences(workspace: Workspace, plan: Plan) -> tuple[int, int]:
    """The sentences that are read, and those that have no triplet."""
    counts = [_count_silent_sentences(workspace, part) for part in plan.parts()]
    return sum(sentences for sentences, _ in counts), sum(silent for _, silent in counts)


def _count_silent_sentences(workspace: Workspace, plan: Plan) -> tuple[int, int]:
    from report_parsing.statements.triplets import READ_SECTIONS

    wanted = ("study_id", "language", "sentences.list.element.section")
    read = Plan(tuple(Batch(batch.name, batch.inputs["reports"]) for batch in plan.batches))
    reports = batches.read_batches(workspace.folder("reports"), read, wanted)
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
            file = batches.open_batch(workspace.folder(stage), Batch(first.name, fingerprint))
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

    values = {"positive": POSITIVE, "uncertain": UNCERTAIN, "negative": NEGATIVE}
    found = {label: Counter({name: 0 for name in (*values, "blank")}) for label in CHEXPERT_14}
    for part in plan.parts():
        labels = batches.read_batches(workspace.folder("report_labels"), part)
        for label, counts in found.items():
            counts.update({name: pc.sum(pc.equal(labels[label], value)).as_py() or 0 for name, value in values.items()})
            counts["blank"] += labels[label].null_count
    rows = [{"label": label, **counts} for label, counts in found.items()]
    return pa.Table.from_pylist(rows)
