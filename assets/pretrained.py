"""Group `pretraining`: a method, trained on the shards by a subprocess that does not outlive its step.

The folder of a run is named after everything that decides its weights, so the same request resumes what was
interrupted and finds what is finished.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets import batches, previews
from assets.code_version import code_version
from assets.method_config import pretraining_config
from assets.pictures import loss_curve
from assets.relay import Relay
from assets.tracking import RunIdentity, read_lines
from assets.workspace import CHECKOUT, Workspace

GROUP = "pretraining"
POOL = "gpu"


@dataclass(frozen=True)
class TrainedRun:
    """What the evaluation needs to know of the latest run of a method on a cohort."""

    method: str
    fingerprint: str
    output: str  # relative to the home
    mlflow_run: str
    data_version: str
    seed: int
    checkpoint_digest: str
    untrained_digest: str


def pretrained_asset(method: str) -> dg.AssetsDefinition:
    """The asset `pretrained/<method>`."""
    config_class = pretraining_config(method)

    @dg.asset(
        key=["pretrained", method],
        deps=["shards", "knowledge"],
        group_name=GROUP,
        kinds={"pytorch", "mlflow"},
        pool=POOL,
        description=f"{method}, trained on the shards. What was interrupted is resumed, what is done reused.",
    )
    def pretrained(
        context: dg.AssetExecutionContext,
        config: config_class,  # type: ignore[valid-type]
        workspace: Workspace,
        pipes: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult[Any]:
        settings = config.model_dump()  # type: ignore[attr-defined]
        request = training_request(workspace, method, settings)
        output = Path(request["output"])
        finished = (output / "result.json").exists()
        identity = _identity(context, workspace, request)
        relay = Relay(workspace.home_path(), identity, output / "metrics.jsonl", share_done(settings), context.log.info)
        with relay:
            if not finished:
                _train(context, pipes, output / "request.json", request)
        result = json.loads((output / "result.json").read_text())
        relay.tracker.tag({f"radalign.{name}": value for name, value in result.items()})
        run = TrainedRun(
            method=method,
            fingerprint=identity.fingerprint,
            output=str(output.relative_to(workspace.home_path())),
            mlflow_run=relay.tracker.run_id,
            data_version=request["data_version"],
            seed=request["seed"],
            checkpoint_digest=result["checkpoint_digest"],
            untrained_digest=result["untrained_digest"],
        )
        batches.write_json(_pointer(workspace, method), asdict(run))
        return dg.MaterializeResult(metadata=_metadata(run, result, output, trained=not finished))

    return pretrained


def training_request(workspace: Workspace, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of `python -m training`; its folder is named after all that decides the weights."""
    from shards.manifest import Manifest, file_digest

    shards = workspace.folder("shards")
    knowledge = workspace.folder("knowledge") / "knowledge.parquet"
    data_version = Manifest.load(shards).digest
    run = batches.fingerprint(method, settings, data_version, file_digest(knowledge), training_code(method))
    return {
        **settings,
        "method": method,
        "shards": str(shards),
        "knowledge": str(knowledge),
        "output": str(workspace.home_path() / "checkpoints" / method / run),
        "data_version": data_version,
    }


def share_done(settings: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], float]:
    """How much of a training is behind a line of its metrics, 0 to 1."""
    if settings["max_steps"]:
        return lambda line: line["step"] / settings["max_steps"]
    return lambda line: line["epoch"] / settings["epochs"]


def trained_run(workspace: Workspace, method: str) -> TrainedRun:
    """The latest finished run of a method on this cohort."""
    if not is_trained(workspace, method):
        raise dg.Failure(
            f"{method} has no finished run on {workspace.cohort_name()}: run pretrain_{method} first.",
            allow_retries=False,
        )
    return TrainedRun(**json.loads(_pointer(workspace, method).read_text()))


def is_trained(workspace: Workspace, method: str) -> bool:
    """Whether a run of the method on this cohort has finished."""
    return _pointer(workspace, method).exists()


def _train(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    path: Path,
    request: Mapping[str, Any],
) -> None:
    batches.write_json(path, request)
    try:
        pipes.run(
            context=context.op_execution_context,
            command=[sys.executable, "-m", "training", str(path)],
            cwd=str(CHECKOUT),
        )
    except Exception as error:
        if re.search(r"code -\d+", str(error)):  # killed by a signal: the checkpoint is good, so go on once
            raise dg.RetryRequested(max_retries=1) from error
        raise dg.Failure(
            f"The training of {request['method']} failed; its last lines above say why. The request is "
            f"{os.path.relpath(path, CHECKOUT)}.",
            allow_retries=False,
        ) from None


def training_code(method: str) -> str:
    """The code that decides the weights: the method's own file, and what all methods share."""
    shared = sorted(path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "models").glob("*.py"))
    own = f"models/methods/{method}.py"
    return code_version(*shared, "models/encoders", "models/losses", own, "training", "imaging/augment.py")


def _pointer(workspace: Workspace, method: str) -> Path:
    return workspace.home_path() / "checkpoints" / method / f"{workspace.cohort_name()}.json"


def _identity(context: dg.AssetExecutionContext, workspace: Workspace, request: Mapping[str, Any]) -> RunIdentity:
    nested = ("method_config", "augmentation")
    left_out = ("shards", "knowledge", "output", *nested)
    parameters = {name: value for name, value in request.items() if name not in left_out}
    inner = {f"{part}.{name}": value for part in nested for name, value in request[part].items()}
    return RunIdentity(
        fingerprint=Path(request["output"]).name,
        name=f"{request['method']} {workspace.cohort_name()} seed {request['seed']}",
        parameters={**parameters, **inner, "cohort": workspace.cohort_name()},
        tags={"radalign.method": request["method"], "dagster.run_id": context.run_id},
        dataset=workspace.cohort_name(),
        dataset_source=request["shards"],
        data_version=request["data_version"],
    )


def _metadata(run: TrainedRun, result: Mapping[str, Any], output: Path, trained: bool) -> dict[str, Any]:
    lines, _ = read_lines(output / "metrics.jsonl", 0)
    final = {name: value for name, value in lines[-1]["metrics"].items()} if lines else {}
    return {
        **{name: value for name, value in result.items() if isinstance(value, str | int | float)},
        **final,
        "trained": trained,
        "data_version": run.data_version,
        "mlflow_run": run.mlflow_run,
        "output": dg.MetadataValue.path(output),
        "losses": previews.picture(loss_curve(lines), "losses"),
    }
