"""Group `report_parsing`: what the sentences say, as triplets, and the 14 CheXpert labels that follow."""

from collections import Counter
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from assets import previews
from assets.batched import Metadata, Stage, Work, batched_asset
from assets.reports import GROUP
from assets.workspace import CHECKOUT, Workspace
from store import batches
from store.batches import Computed, Plan

EXAMPLES = 6
_SAID = ("entity", "position", "exists")
_SPEAKS = pc.field("triplets").is_valid()

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


class TripletsConfig(dg.Config):
    """Where the triplets come from."""

    radgraph: str = Field(
        "",
        description="A RadGraph file (MIMIC-CXR_graphs.json, or ours in the same form) to derive the triplets from. "
        "Empty: our own parser reads the reports.",
    )


@cache
def _parser() -> Any:
    """One parser per process: it takes a moment to set up, and it remembers sentences."""
    from report_parsing.statements.triplets import TripletParser

    return TripletParser()


@lru_cache(maxsize=1)
def _radgraph_triplets(path: Path, digest: str) -> tuple[pa.Table, Counter[str]]:
    """The triplets of a whole RadGraph file and why reports of it are unusable; read once per state of the file."""
    from report_parsing.radgraph.files import GraphFileError
    from report_parsing.radgraph.triplets import triplets_of_file

    try:
        table, rejects = triplets_of_file(path)
    except GraphFileError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    return table, Counter(reject.reason for reject in rejects)


def _settings(workspace: Workspace, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The digest of the RadGraph file, so that another file under the same name computes anew."""
    from store.digests import file_digest

    if not config["radgraph"]:
        return {}
    path = CHECKOUT / config["radgraph"]
    if not path.is_file():
        raise dg.Failure(
            f"There is no RadGraph file {path} (triplets: radgraph): name MIMIC-CXR_graphs.json of PhysioNet's "
            "RadGraph or a file of that form, or leave the option empty to use our own parser.",
            allow_retries=False,
        )
    return {"radgraph": str(path), "radgraph_digest": file_digest(path)}


def _extract(work: Work) -> Computed:
    reports = pq.read_table(work.inputs["reports"])
    if not work.settings["radgraph"]:
        return _parser().parse_table(reports), None
    found, _ = _radgraph_triplets(Path(work.settings["radgraph"]), work.settings["radgraph_digest"])
    return found.filter(pc.is_in(found["study_id"], value_set=reports["study_id"].combine_chunks())), None


def _preview_triplets(workspace: Workspace, plan: Plan) -> Metadata:
    from report_parsing.statements.triplets import READ_SECTIONS

    folder = workspace.folder("triplets")
    with duckdb.connect() as database:
        database.register("triplets", batches.read_batches(folder, plan, ("study_id", "sentence", *_SAID)))
        entities = database.sql(_BY_ENTITY).to_arrow_table()
        positions = database.sql(_BY_POSITION).to_arrow_table()
        metadata: Metadata = {
            "entities seen": entities.num_rows,
            "positions seen": positions.num_rows,
            "entities": previews.head(entities, entities.column_names, entities.num_rows),
            "positions": previews.head(positions, positions.column_names, positions.num_rows),
        }
        if plan.settings["radgraph"]:  # its sentences are not those of the reports
            return metadata | _coverage(workspace, plan)
        columns = ("study_id", "sentences.list.element.section")
        database.register("reports", batches.read_batches(workspace.folder("reports"), columns=columns))
        found = database.execute(_SENTENCES, {"sections": list(READ_SECTIONS)}).fetchone()
    sentences, silent = found or (0, 0)
    metadata |= {"sentences": sentences, "share of sentences with no triplet": silent / max(sentences, 1)}
    return metadata | _examples(workspace, plan) if workspace.may_show_text() else metadata


def _examples(workspace: Workspace, plan: Plan) -> Metadata:
    """A few sentences of the first batch, with and without triplets."""
    from report_parsing.statements.triplets import READ_SECTIONS

    if not plan.batches:
        return {}
    first = plan.batches[0]
    with duckdb.connect() as database:
        for stage, fingerprint in (("triplets", first.fingerprint), ("reports", first.inputs["reports"])):
            database.register(stage, pq.read_table(batches.output_path(workspace.folder(stage), fingerprint)))
        table = database.sql(_EXAMPLES, params={"sections": list(READ_SECTIONS)}).to_arrow_table()
    speaking, silent = (table.filter(where) for where in (_SPEAKS, ~_SPEAKS))
    return {
        "example sentences": previews.head(speaking, ("study_id", "text", "triplets"), EXAMPLES),
        "examples with no triplet": previews.head(silent, ("study_id", "text"), EXAMPLES),
    }


def _coverage(workspace: Workspace, plan: Plan) -> Metadata:
    """How many of the studies the RadGraph file speaks of, and what of it cannot be used."""
    _, unusable = _radgraph_triplets(Path(plan.settings["radgraph"]), plan.settings["radgraph_digest"])
    studies = pc.unique(batches.read_batches(workspace.folder("reports"), columns=("study_id",))["study_id"])
    speaking = pc.unique(batches.read_batches(workspace.folder("triplets"), plan, ("study_id",))["study_id"])
    return {
        "studies": len(studies),
        "studies with no triplet": len(studies) - len(speaking),
        "unusable graphs": unusable.total(),
        "why unusable": previews.markdown_table(("reason", "graphs"), sorted(unusable.items())),
    }


triplets = batched_asset(
    Stage(
        name="triplets",
        group=GROUP,
        description="What each sentence says: entity, position, and whether present, absent or uncertain.",
        upstream=("reports",),
        code=("report_parsing.statements.triplets", "report_parsing.radgraph.triplets"),
        config=TripletsConfig,
        settings=_settings,
        compute=_extract,
        preview=_preview_triplets,
    )
)


def _label(work: Work) -> Computed:
    from report_parsing.chexpert import label_table

    tables = {name: pq.read_table(path) for name, path in work.inputs.items()}
    return label_table(tables["reports"]["study_id"], tables["triplets"]), None


def _preview_labels(workspace: Workspace, plan: Plan) -> Metadata:
    from report_parsing.vocabulary import CHEXPERT_14, NEGATIVE, POSITIVE, UNCERTAIN

    labels = batches.read_batches(workspace.folder("report_labels"), plan)
    values = {"positive": POSITIVE, "uncertain": UNCERTAIN, "negative": NEGATIVE}
    counts = [
        (
            label,
            *(pc.sum(pc.equal(labels[label], value)).as_py() or 0 for value in values.values()),
            labels[label].null_count,
        )
        for label in CHEXPERT_14
    ]
    return {"labels": previews.markdown_table(("label", *values, "blank"), counts)}


report_labels = batched_asset(
    Stage(
        name="report_labels",
        group=GROUP,
        description="The 14 CheXpert labels of every report: 1 positive, 0 negative, -1 uncertain, else empty.",
        upstream=("reports", "triplets"),
        code=("report_parsing.chexpert",),
        compute=_label,
        preview=_preview_labels,
    )
)
