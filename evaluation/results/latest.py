"""The results of the latest run of each method."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from evaluation.results.store import read_results
from ingestion.workspace import Workspace
from models.registry import method_names
from tracking.runs import known_runs


def latest_results(workspace: Workspace, every_cohort: bool = False) -> pa.Table:
    """The results of the latest run of each method, variant and seed that was pretrained on the workspace's cohort.

    They are the results on this cohort, or with `every_cohort` on all. Those of a supervised network are included.
    """
    where = {} if every_cohort else {"cohort": workspace.cohort_name()}
    table = read_results(workspace.home_path(), where)
    runs = [run for method in method_names() for run in known_runs(workspace, method)]
    digests = [digest for run in runs for digest in (run.checkpoint_digest, run.untrained_digest)]
    latest = pc.is_in(table["checkpoint"], value_set=pa.array(digests, pa.string()))
    return table.filter(pc.or_(latest, pc.equal(table["method"], "supervised")))
