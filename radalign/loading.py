"""Opens a pretrained model by its folder, or by the name of a method."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from models.compute import AUTO, Compute
from models.run_files import CARD, ORIGIN, RESULT
from radalign.errors import RadalignError, one_sentence
from radalign.model import Model


def load(
    source: str | PathLike[str],
    weights: str = "trained",
    home: str = "",
    cohort: str = "",
    *,
    device: str = AUTO,
    precision: str = AUTO,
) -> Model:
    """The model in the folder `source` of a finished run, or the latest run of the method called `source`.

    A method's run is looked up in `home` (default: RADALIGN_HOME, else var) among those that were pretrained on
    `cohort` (default: RADALIGN_COHORT, else phantom). `weights` are `trained`, `untrained` (the same network before
    training) or a file in the folder, such as a checkpoint's.

    `device` is `cpu`, `cuda`, `cuda:1`, ..., or `auto`: a GPU where torch has one. `precision` is `fp32`, `bf16` (of
    three digits, and faster on a GPU), or `auto`: fp32.
    """
    with one_sentence():
        compute = Compute(device, precision).resolve()
    folder = Path(source)
    if not any((folder / name).is_file() for name in (CARD, RESULT, ORIGIN)):  # what lacks is named later
        folder = _latest_run(str(source), home, cohort)
    return Model(folder, weights, compute)


def _latest_run(name: str, home: str, cohort: str) -> Path:
    from ingestion.workspace import Workspace
    from models.registry import evaluated_names
    from store.errors import did_you_mean
    from store.remote import mirror
    from tracking.runs import trained_run

    if name not in evaluated_names():
        guess = did_you_mean(name, evaluated_names())
        raise RadalignError(
            f"{name} is neither the folder of a finished run (which holds {CARD}) nor a method{guess}; methods are "
            f"{', '.join(evaluated_names())}."
        )
    workspace = Workspace(home=home, cohort=cohort)
    with one_sentence():
        mirror.refresh(workspace.home_path())
        return workspace.home_path() / trained_run(workspace, name).output
