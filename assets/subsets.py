"""Group `ingestion`: which films of the train split a method may see labels of, at 1 % and 10 %."""

from typing import Any

import dagster as dg
import pyarrow.parquet as pq
from pydantic import Field

from assets import previews
from assets.ingestion import GROUP
from assets.workspace import Workspace
from store.atomic import write_table


class SubsetsConfig(dg.Config):
    """How the fractions are drawn."""

    seed: int = Field(0, description="Another seed draws other patients; every method sees the same ones.")


@dg.asset(group_name=GROUP, kinds={"python", "parquet"}, deps=["studies"])
def subsets(config: SubsetsConfig, workspace: Workspace) -> dg.MaterializeResult[Any]:
    """The least label fraction that holds each film of the train split: 1 % of the patients lie within 10 %."""
    from cohorts.subsets import class_presence, subset_table

    studies = pq.read_table(workspace.folder("studies") / "studies.parquet")
    table = subset_table(studies, config.seed)
    write_table(table, workspace.folder("subsets") / "subsets.parquet")
    presence = class_presence(studies, table)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.num_rows,
            "seed": config.seed,
            "films": previews.counts(table, "fraction"),
            "labels": previews.head(presence, presence.column_names, presence.num_rows),
        }
    )
