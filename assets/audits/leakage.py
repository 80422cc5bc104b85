"""Group `downstream`: whether what a network is tested on was seen before, and what chose its settings."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import previews
from assets.datasets import GROUP
from assets.workspace import WorkspaceResource, identify, one_sentence
from ingestion.pipeline import downstream_names
from ingestion.versions import pinned

LEAKAGE = "leakage"
UNSEEN = "tests_are_unseen"
COHORTS = tuple(downstream_names())


@dg.asset(
    name=LEAKAGE,
    group_name=GROUP,
    kinds={"python"},
    deps=["shards", *(dg.AssetKey(["dataset", cohort]) for cohort in COHORTS)],
    check_specs=[
        dg.AssetCheckSpec(
            UNSEEN,
            asset=LEAKAGE,
            description="No patient and no image of a test split is in what a network or a classifier has seen.",
        )
    ],
)
def leakage(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> Iterator[dg.MaterializeResult[Any]]:
    """Patients that pretraining and a test split share, and images that look the same, also between splits.

    Images are compared by a perceptual hash, which finds copies that were resized, compressed again or mirrored. Leaks
    do not stop the run. They are reported here, by a check, and on the page of tables.
    """
    from evaluation.leakage.checks import describe
    from evaluation.leakage.datasets import check_leakage
    from evaluation.leakage.selection import describe_selection
    from evaluation.tasks.registry import task_names

    with one_sentence():
        leaks = check_leakage(
            pinned(workspace.plain(), context.run.run_id, context.log.info), COHORTS, context.log.info
        )
    found = [leak for leak in leaks if leak.count]
    rows = [(leak.kind, leak.seen, leak.tested, "?" if leak.count is None else leak.count, leak.of) for leak in leaks]
    yield dg.MaterializeResult(
        metadata={
            "comparisons": len(leaks),
            "leaks": len(found),
            "counts": previews.markdown_table(("what", "seen", "tested", "seen too", "of"), rows),
            "sentences": previews.markdown_list(describe(leaks)),
            "selection": previews.markdown_list(describe_selection(sorted(task_names()))),
            **identify(workspace.plain()),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=not found,
                check_name=UNSEEN,
                severity=dg.AssetCheckSeverity.WARN,
                description=" ".join(describe(found)) or None,
                metadata=identify(workspace.plain()),
            )
        ],
    )
