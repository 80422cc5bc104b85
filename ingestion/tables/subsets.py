"""Which images can be used, and which of the train split a method may see labels of, at 1 % and 10 % of the patients.

All three tables are in the order of the image ids, whatever the batches of the archive are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.stage import keep_settings
from store import batches
from store.batches import AGAIN
from store.digests import known_digest
from store.seals import expect_intact, write_sealed_table
from store.settings import setting

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion.workspace import Workspace


@dataclass(frozen=True)
class SubsetsSettings:
    """How the fractions are chosen."""

    seed: int = setting(0, "Another seed chooses other patients; every method sees the same ones.")


def table_path(workspace: Workspace, name: str) -> Path:
    """The file of `studies`, `rejects` or `subsets`."""
    return workspace.folder(name) / f"{name}.parquet"


def expect_table(workspace: Workspace, name: str) -> Path:
    """The file of `studies`, `rejects` or `subsets`; DamageError where it is not what was written."""
    return expect_intact(table_path(workspace, name), AGAIN)


def write_usable(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """Write `studies` and `rejects`: every image of the archive ends in exactly one of the two."""
    studies, rejects = split_usable(workspace)
    write_sealed_table(studies, table_path(workspace, "studies"))
    write_sealed_table(rejects, table_path(workspace, "rejects"))
    return studies, rejects


def split_usable(workspace: Workspace) -> tuple[pa.Table, pa.Table]:
    """The usable rows of the scan, and a reject per other image: the first stage that refused it says why."""
    from cohorts.tables import STUDIES
    from ingestion.inventory import REJECTS

    scanned = batches.read_batches(workspace.folder("inventory"), columns=STUDIES.names)
    found = [
        pq.read_table(expect_intact(workspace.folder("inventory") / REJECTS, AGAIN)),
        batches.read_rejects(workspace.folder("images")),
        batches.read_rejects(workspace.folder("reports")),
    ]
    kept, seen = [], pa.array([], pa.string())
    for table in found:
        if table is None:
            continue
        new = table.filter(pc.invert(pc.is_in(table["image_id"], value_set=seen)))
        seen = pa.concat_arrays([seen, new["image_id"].combine_chunks()])
        kept.append(new)
    rejects = pa.concat_tables(kept)
    usable = scanned.filter(pc.invert(pc.is_in(scanned["image_id"], value_set=seen)))
    return usable.sort_by("image_id"), rejects.sort_by("image_id")


def write_subsets(workspace: Workspace, settings: SubsetsSettings) -> tuple[pa.Table, pa.Table]:
    """Write `subsets`; returns it, and how often each label occurs in each fraction."""
    from cohorts.subsets import class_presence, subset_table

    studies = pq.read_table(expect_table(workspace, "studies"))
    table = subset_table(studies, settings.seed)
    write_sealed_table(table, table_path(workspace, "subsets"))
    keep_settings(workspace.folder("subsets"), settings)
    return table, class_presence(studies, table)


def subsets_digest(workspace: Workspace) -> str:
    """Digest of the table `subsets`; empty where it was not written yet."""
    if not table_path(workspace, "subsets").is_file():
        return ""
    return known_digest(expect_table(workspace, "subsets"))
