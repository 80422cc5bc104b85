"""Group `downstream`: the archives of other cohorts that are simulated where pretraining was, too."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.settings import EvaluationSettings
from assets.workspace import Workspace

GROUP = "downstream"
ARCHIVES = "simulated_archives"
SEED = 7  # of the simulated archives: other films than those a network was pretrained on


@dg.asset(name=ARCHIVES, group_name=GROUP, kinds={"file"})
def simulated_archives(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    evaluation: EvaluationSettings,  # type: ignore[valid-type]
) -> dg.MaterializeResult[Any]:
    """Beside a simulated pretraining: every downstream dataset that has no archive, drawn in its published layout.

    Each says in a file of its own that it is a simulation, and so do the rows of `results`.
    """
    # First of all assets: a cohort or an address that is none stops the run here.
    absent = [name for name in chosen(evaluation, workspace) if workspace.downstream(name) is None]
    wanted = evaluation.simulated_studies if workspace.simulated() else 0  # type: ignore[attr-defined]
    missing = _not_taken(context, workspace, absent) if wanted else []
    if missing:
        _simulate(context, workspace, missing, wanted)
    return dg.MaterializeResult(metadata={"computed": len(missing), "drawn": ", ".join(missing) or "nothing"})


def chosen(evaluation: Any, workspace: Workspace) -> list[str]:
    """The cohorts to evaluate on, without the one that pretraining was on."""
    from evaluation.protocol import DOWNSTREAM

    for setting in ("cohorts", "splits"):
        if unknown := set(getattr(evaluation, setting)) - set(DOWNSTREAM):
            raise dg.Failure(
                f"evaluation.{setting} names {min(unknown)}, which is not one of {', '.join(DOWNSTREAM)}.",
                allow_retries=False,
            )
    return [name for name in evaluation.cohorts or DOWNSTREAM if name != workspace.cohort_name()]


def _not_taken(context: dg.AssetExecutionContext, workspace: Workspace, names: Sequence[str]) -> list[str]:
    """Those that have no folder of somebody's where theirs would be drawn."""
    taken = {name: root for name in names if (root := _simulated_root(workspace, name)).exists()}
    for name, root in taken.items():
        context.log.warning(f"{root} is there and no simulation: it stays as it is, and {name} is left out.")
    return [name for name in names if name not in taken]


def _simulate(context: dg.AssetExecutionContext, workspace: Workspace, names: Sequence[str], studies: int) -> None:
    """Archives in the layouts of the named cohorts, all of the same patients, who are not those of the pretraining."""
    import shutil
    from concurrent.futures import ThreadPoolExecutor

    from cohorts.phantom.config import PhantomConfig
    from cohorts.phantom.layouts import layout_writer
    from cohorts.phantom.simulated import simulate_studies
    from imaging.pool import usable_cores

    context.log.info(f"Drawing {studies} studies for the archives of {', '.join(names)}.")
    drawn = simulate_studies(PhantomConfig(studies=studies, seed=_another_seed(workspace)), studies)

    def write(name: str) -> None:
        root = _simulated_root(workspace, name)
        partial = root.with_name("archive.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed run
        layout_writer(name)(partial, drawn)
        partial.rename(root)
        context.log.info(f"Simulated {studies} studies in the layout of {name}.")

    with ThreadPoolExecutor(usable_cores()) as pool:  # packing films, most of it, does not hold up other threads
        list(pool.map(write, names))


def _simulated_root(workspace: Workspace, name: str) -> Path:
    return workspace.home_path() / name / "archive"


def _another_seed(workspace: Workspace) -> int:
    """One that the archive of the pretraining was not drawn with."""
    from cohorts.phantom.archive import read_record

    record = read_record(workspace.root()) or {}
    return SEED + (record.get("seed") == SEED)
