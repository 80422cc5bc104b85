"""Asset checks: nothing is lost, nobody is in two splits, no text is empty, pixels look like radiographs.

The blocking ones stop a run before a network learns from bad data.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import previews
from assets.workspace import WorkspaceResource
from ingestion import checks
from ingestion.checks import CheckResult


def _specs(table: str, descriptions: dict[str, str], first_also_reads: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            name,
            asset=table,
            additional_deps=None if number else [first_also_reads],
            blocking=name not in checks.WARNINGS,
            description=description,
        )
        for number, (name, description) in enumerate(descriptions.items())
    ]


@dg.multi_asset_check(specs=_specs("studies", checks.STUDIES_CHECKS, "rejects"))
def studies_checks(workspace: WorkspaceResource) -> Iterator[dg.AssetCheckResult]:
    """The two tables against the archive, and the splits."""
    for result in checks.check_studies(workspace.plain()):
        metadata = dict(result.figures)
        if result.name == checks.NOTHING_LOST:
            metadata["reasons"] = previews.counts(checks.read_reject_reasons(workspace.plain()), "stage", "reason")
        yield as_check_result(result, dg.AssetKey("studies"), metadata)


@dg.multi_asset_check(specs=_specs("shards", checks.SHARDS_CHECKS, "studies"))
def shards_checks(workspace: WorkspaceResource) -> Iterator[dg.AssetCheckResult]:
    """What training is about to read."""
    for result in checks.check_shards(workspace.plain()):
        yield as_check_result(result, dg.AssetKey("shards"), dict(result.figures))


def as_check_result(result: CheckResult, key: dg.AssetKey, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    """A result of `ingestion.checks` for Dagster's pages."""
    warns = result.name in checks.WARNINGS
    return dg.AssetCheckResult(
        check_name=result.name,
        asset_key=key,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR,
        description=result.description or None,
        metadata=metadata,
    )
