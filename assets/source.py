"""Group `source`: the archive. The phantom cohort simulates its own; every other archive is somebody's."""

from typing import Any

import dagster as dg

from assets.documented import documented_config
from assets.workspace import Workspace

# What the simulator draws; read by the phantom cohort only.
ArchiveConfig = documented_config("cohorts/phantom/config.py")


@dg.asset(group_name="source", kinds={"dicom", "file"})
def archive(
    context: dg.AssetExecutionContext,
    config: ArchiveConfig,  # type: ignore[valid-type]
    workspace: Workspace,
) -> dg.MaterializeResult[Any]:
    """Radiographs and reports on disk, in the published layout of the cohort.

    The embedded default, `phantom`, is a simulation: it is drawn here, once, in the layout of MIMIC-CXR, and
    its numbers say nothing about patients. For every other cohort this checks that the archive is there.
    """
    settings = config.model_dump()  # type: ignore[attr-defined]
    metadata = _simulate(context, settings, workspace) if workspace.simulated() else {"computed": 0}
    workspace.open_cohort()
    root = workspace.root()
    return dg.MaterializeResult(
        metadata={**metadata, "cohort": workspace.cohort_name(), "root": dg.MetadataValue.path(str(root))}
    )


def _simulate(context: dg.AssetExecutionContext, settings: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    from cohorts.phantom.archive import simulate
    from cohorts.phantom.config import PhantomConfig

    tenths = 0

    def progress(done: int, total: int) -> None:
        nonlocal tenths
        if 10 * done // total > tenths:
            context.log.info(f"Simulated {done} of {total} studies.")
        tenths = 10 * done // total

    try:
        return simulate(workspace.root(), PhantomConfig(**settings), progress)
    except ValueError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
