"""Stage `triplets`: what the sentences of a batch of reports say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store.settings import setting

if TYPE_CHECKING:
    from ingestion.stage import Work
    from report_parsing.statements.triplets import TripletParser
    from store.batches import Computed, Plan

CODE = ("ingestion.stages.triplets",)


@dataclass(frozen=True)
class TripletsSettings:
    """Where the triplets come from."""

    radgraph: str = setting(
        "",
        "A RadGraph file (MIMIC-CXR_graphs.json, or ours in the same form) to derive the triplets from. Empty: our own "
        "parser reads the reports.",
    )


def imply(settings: Mapping[str, Any], _: Mapping[str, Plan]) -> Mapping[str, Any]:
    """The digest of the RadGraph file, so that another file under the same name computes anew."""
    from cohorts.errors import CohortError
    from store.digests import file_digest
    from store.home import based

    if not settings["radgraph"]:
        return {}
    path = based(settings["radgraph"])
    if not path.is_file():
        raise CohortError(
            f"There is no RadGraph file {path} (triplets: radgraph): name MIMIC-CXR_graphs.json of PhysioNet's "
            "RadGraph or a file of that form, or leave the option empty to use our own parser."
        )
    return {"radgraph": str(path), "radgraph_digest": file_digest(path)}


def compute(work: Work) -> Computed:
    """The triplets of one batch of reports, and the reports in languages that our parser does not read."""
    from ingestion.stages.unparsed import find_unparsed, list_unparsed

    reports = pq.read_table(work.inputs["reports"])
    if not work.settings["radgraph"]:
        return _shared_parser().parse_table(reports), list_unparsed(reports.filter(find_unparsed(reports)), "triplets")
    found, _ = read_radgraph(Path(work.settings["radgraph"]), work.settings["radgraph_digest"])
    return found.filter(pc.is_in(found["study_id"], value_set=reports["study_id"].combine_chunks())), None


@lru_cache(maxsize=1)
def read_radgraph(path: Path, digest: str) -> tuple[pa.Table, Counter[str]]:
    """The triplets of a whole RadGraph file and why reports of it are unusable; read once per state of the file."""
    from report_parsing.radgraph.triplets import triplets_of_file

    table, rejects = triplets_of_file(path)
    return table, Counter(reject.reason for reject in rejects)


@cache
def _shared_parser() -> TripletParser:
    """One parser per process: it takes a moment to set up, and it remembers sentences."""
    from report_parsing.statements.triplets import TripletParser

    return TripletParser()
