"""Group `pretraining`: a released file of weights as a run of the home."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from assets.workspace import WorkspaceResource, identify, one_sentence
from models.registry import released_names
from tracking.runs import IMPORTED


class ImportConfig(dg.Config):
    """Which file, and what it lacks."""

    path: str = Field(description="The released file of weights.")
    released: str = Field(default="", description=f"{', '.join(released_names())}. Empty: recognised by its weights.")
    texts: str = Field(
        default="", description="Folder of the text encoder (vocabulary, configuration), where the file lacks it."
    )
    size: int = Field(
        default=0,
        description="Side of its images in pixels, where files of its format do not say it (KAD); 0: as usual.",
    )
    name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9+_.-]*$",
        description="Added to what results call the run: medklip:released-NAME.",
    )


@dg.asset(name=IMPORTED, group_name="pretraining", kinds={"pytorch", "mlflow"})
def imported(
    context: dg.AssetExecutionContext, config: ImportConfig, workspace: WorkspaceResource
) -> dg.MaterializeResult[Any]:
    """Weights that others released, read without running anything in their file, for the evaluation.

    The run becomes the latest of its method on the dataset. Tables mark it as released.
    """
    from tracking.imported import import_released

    place = workspace.plain()
    with one_sentence():
        texts = Path(config.texts) if config.texts else None
        log, path = context.log.info, Path(config.path)
        run = import_released(place, path, log, config.released, texts, config.name, config.size)
    return dg.MaterializeResult(
        metadata={
            "run": run.name,
            "folder": dg.MetadataValue.path(str(place.home_path() / run.output)),
            "mlflow_run": run.mlflow_run,
            **identify(place),
        },
        data_version=dg.DataVersion(run.checkpoint_digest),
    )
