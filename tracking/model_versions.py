"""MLflow's registry of models: a version for every finished run, which MLflow can load and serve.

A registered model is a method on a dataset, such as `medklip-phantom`. A version holds the files of the run that
prediction needs, the code that reads them, and what a call takes and gives. `models:/medklip-phantom/latest` is the
newest version, and the alias `best` the one with the best number of `tracking.layout.RANKED`. Importing MLflow takes
seconds, so functions import it.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from importlib.metadata import requires, version
from math import isnan, nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cohorts import registry
from ingestion.pooling.names import members_of
from models.run_files import CARD, METRICS, ORIGIN, RESULT, TRAINED
from store.code import ROOMS, ROOT
from tracking.layout import RANKED
from tracking.runs import TrainedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

LOADER = "radalign.pyfunc"
BEST = "best"
FOLDER = "model"  # of a version, among the artifacts of its run
IMAGE, FINDINGS = "image", "findings"  # the column of the input, and the parameter
USUAL_FINDINGS = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural effusion")  # of CheXpert's tasks
CHECKPOINT_TAG = "radalign.checkpoint"
NOT_SERVED = {"assets", "pipelines"}  # rooms that no prediction needs
NOT_NEEDED = ("dagster",)  # the beginnings of distributions that no prediction needs
DESCRIPTION = """\
{method}, pretrained by Radalign on {cohort}, or released by others and imported beside it: the tag `radalign.run` \
of a version says which. Not a medical device.

The input is a table with the column `image`: the bytes of a DICOM, JPG or PNG file, in JSON as base64. The parameter \
`findings` names findings in words. The output has a column for each of them with scores in 0..1. Scores order images; \
they are not probabilities of disease. `models:/{name}/latest` is the newest version, `models:/{name}@best` the one \
with the best result on the test images of {cohort}.
"""


def model_name(run: TrainedRun, cohort: str) -> str:
    """The registered model that a run is a version of."""
    return f"{run.method}-{cohort}"


def register_version(client: MlflowClient, run_id: str, run: TrainedRun, folder: Path, cohort: str) -> None:
    """Make the finished run in `folder` a version, unless it is one; `run_id` is its run in MLflow."""
    name = model_name(run, cohort)
    if any(one.tags.get(CHECKPOINT_TAG) == run.checkpoint_digest for one in _usable_versions(client, name)):
        return
    with TemporaryDirectory() as place:
        path = Path(place) / FOLDER
        _save(run, folder, cohort, path)
        client.log_artifacts(run_id, str(path), FOLDER)
    _create_model(client, name, run, cohort)
    source = f"{client.get_run(run_id).info.artifact_uri}/{FOLDER}"
    tags = {CHECKPOINT_TAG: run.checkpoint_digest, "radalign.run": run.name, "radalign.seed": str(run.seed)}
    client.create_model_version(name, source, run_id, tags={**tags, "radalign.data_version": run.data_version})


def choose_best(client: MlflowClient, run_id: str) -> None:
    """Give the alias `best` to the best version of the models that the run is a version of."""
    for name in {one.name for one in client.search_model_versions(f"run_id = '{run_id}'")}:
        ranked = [(_rank(client, one), -int(one.version), one) for one in _usable_versions(client, name)]
        measured = [entry[:2] for entry in ranked if entry[0]]
        if measured:
            client.set_registered_model_alias(name, BEST, str(-max(measured)[1]))


def _rank(client: MlflowClient, one: ModelVersion) -> tuple[int, float] | None:
    """What a version is ordered by, larger is better; None where nothing was measured.

    Any zero-shot result comes before any result of a probe.
    """
    metrics: Mapping[str, float] = client.get_run(str(one.run_id)).data.metrics
    for place, metric in enumerate(RANKED):
        if not isnan(metrics.get(metric, nan)):
            return -place, metrics[metric]
    return None


def _usable_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The versions of a model whose files are there."""
    found = client.search_model_versions(f"name = '{name}'")
    return [one for one in found if client.list_artifacts(str(one.run_id), FOLDER)]


def _create_model(client: MlflowClient, name: str, run: TrainedRun, cohort: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(
            name, description=DESCRIPTION.format(method=run.method, cohort=cohort, name=name)
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _save(run: TrainedRun, folder: Path, cohort: str, path: Path) -> None:
    """Write MLflow's folder of the model: the run's files, the code and the requirements."""
    from mlflow import pyfunc

    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an example of the input would be somebody's radiograph
        files = Path(place) / run.fingerprint
        _copy_run(folder, files)
        pyfunc.save_model(
            path,
            loader_module=LOADER,
            data_path=str(files),
            code_paths=[str(ROOT / room) for room in sorted(ROOMS - NOT_SERVED)],
            signature=_signature(cohort),
            pip_requirements=_requirements(),
            metadata={"run": run.name, "checkpoint": run.checkpoint_digest, "data_version": run.data_version},
        )


def _copy_run(folder: Path, to: Path) -> None:
    """The files that prediction reads, their seals, and the text encoders that lie beside them."""
    from models.saved import ModelCard

    to.mkdir()
    for name in (CARD, RESULT, ORIGIN, TRAINED, METRICS):
        for path in (folder / name, folder / f"{name}.sha256"):
            if path.exists():
                shutil.copyfile(path, to / path.name)
    for encoder in ModelCard.load(folder).own_encoders(folder):
        shutil.copytree(encoder, to / encoder.name)


def _signature(cohort: str) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    named = [list(registry.dataset(name).zero_shot or ()) for name in members_of(cohort)]
    findings = list(dict.fromkeys(label for labels in named for label in labels)) or list(USUAL_FINDINGS)
    return ModelSignature(
        Schema([ColSpec(DataType.binary, IMAGE)]),
        Schema([ColSpec(DataType.double, finding) for finding in findings]),
        ParamSchema([ParamSpec(FINDINGS, DataType.string, findings, shape=(-1,))]),
    )


def _requirements() -> list[str]:
    """The distributions of the project in the versions that are installed."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in requires("radalign") or ()]
    names = [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [f"{name}=={version(name)}" for name in names if not name.startswith(NOT_NEEDED)]
