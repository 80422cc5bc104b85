"""Where the steps of a run go: this process, unless the run config names another executor.

Dagster's own default starts a process per step, each of which pays for its imports again.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

CHOICE = dg.Field(
    dg.Selector({"in_process": dg.Permissive(), "multiprocess": dg.Permissive()}),
    default_value={"in_process": {}},
    description="in_process: all steps in the process of the run. multiprocess: a process per step.",
)


@dg.configured(dg.multi_or_in_process_executor, config_schema=CHOICE)
def in_process_by_default(config: dict[str, Any]) -> dict[str, Any]:
    """`execution: {config: {multiprocess: {max_concurrent: 2}}}` spreads the batches over processes."""
    return config
