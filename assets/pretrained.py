"""Group `pretraining`: a method, trained on the shards by a subprocess that does not outlive its step."""

import fcntl
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assets import previews
from assets.dead_runs import close_dead_trainings, end_with_parent
from assets.method_config import VARIANT, pretraining_config
from assets.workspace import CHECKOUT, Workspace
from store import batches
from store.atomic import write_json
from tracking.loss_curve import loss_curve
from tracking.relay import Relay
from tracking.runs import TrainedRun, remember, training_request
from tracking.tracker import DAGSTER_TAG, RunIdentity, Tail, Tracker
from training.config import TrainingConfig
from training.errors import FAILURE, TrainingError

GROUP = "pretraining"
POOL = "gpu"  # for a cluster, whose daemon frees the slots of dead runs; one machine has `one_at_a_time`
Log = Callable[[str], None]


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
        expect_reports(workspace)
        settings = config.model_dump()  # type: ignore[attr-defined]
        variant = settings.pop(VARIANT)
        request = training_request(workspace, method, settings)
        output, home = Path(request["output"]), workspace.home_path()
        finished = (output / "result.json").exists()
        identity = _identity(context.run_id, workspace.cohort_name(), request)
        alone = nullcontext() if finished else one_at_a_time(home / "training.lock", context.log.info)
        bury = None if finished else partial(close_dead_trainings, context.instance, home)
        with alone, Relay(home, identity, output / "metrics.jsonl", context.log.info, bury) as relay:
            if not finished:
                end_with_parent()
                _train(context, pipes, request)
        run = replace(_finished_run(request, home, relay.tracker), variant=variant)
        remember(workspace, run)
        return dg.MaterializeResult(metadata={"trained": not finished, **_metadata(run, output)})

    return pretrained


def expect_reports(workspace: Workspace) -> None:
    """Refuse to pretrain on films without text."""
    if not batches.read_plan(workspace.folder("inventory")).settings["has_reports"]:
        raise dg.Failure(
            f"The cohort {workspace.cohort_name()} has films without reports, from which there is nothing to pretrain: "
            "set RADALIGN_COHORT to one with reports, and use this one to evaluate.",
            allow_retries=False,
        )


@contextmanager
def one_at_a_time(lock: Path, log: Log) -> Iterator[None]:
    """Wait for other trainings of this home. The kernel frees the lock however its holder ended.

    A Dagster pool with a limit would stay taken after a `kill -9` of the run, as no daemon frees its slot.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("Another run is training in this home; waiting for it to end.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _train(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, request: Mapping[str, Any]) -> None:
    """Run the trainer to its end. A mistake fails with its sentence; a trainer that was killed is tried once more.

    A retry policy of the asset would also try again what somebody has interrupted.
    """
    output = Path(request["output"])
    path, explanation = output / "request.json", output / FAILURE
    write_json(path, request)
    explanation.unlink(missing_ok=True)
    command = [sys.executable, "-m", "training", str(path)]
    try:
        TrainingConfig.from_dict(dict(request), "the launchpad")
        pipes.run(context=context.op_execution_context, command=command, cwd=str(CHECKOUT))
    except TrainingError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except Exception as error:
        if explanation.exists():
            raise dg.Failure(explanation.read_text().strip(), allow_retries=False) from None
        context.log.warning(f"The trainer was killed or broke off ({error}); it goes on from its last checkpoint.")
        raise dg.RetryRequested(max_retries=1) from error


def _identity(dagster_run: str, cohort: str, request: Mapping[str, Any]) -> RunIdentity:
    nested = ("method_config", "augmentation")
    left_out = ("shards", "knowledge", "output", *nested)
    parameters = {name: value for name, value in request.items() if name not in left_out}
    inner = {f"{part}.{name}": value for part in nested for name, value in request[part].items()}
    return RunIdentity(
        fingerprint=Path(request["output"]).name,
        name=f"{request['method']} {cohort} seed {request['seed']}",
        parameters={**parameters, **inner, "cohort": cohort},
        tags={"radalign.method": request["method"], DAGSTER_TAG: dagster_run},
        dataset=cohort,
        dataset_source=request["shards"],
        data_version=request["data_version"],
    )


def _finished_run(request: Mapping[str, Any], home: Path, tracker: Tracker) -> TrainedRun:
    output = Path(request["output"])
    result = json.loads((output / "result.json").read_text())
    tracker.tag({f"radalign.{name}": value for name, value in result.items()})
    return TrainedRun(
        method=request["method"],
        fingerprint=output.name,
        output=str(output.relative_to(home)),
        mlflow_run=tracker.run_id,
        data_version=request["data_version"],
        seed=request["seed"],
        checkpoint_digest=result["checkpoint_digest"],
        untrained_digest=result["untrained_digest"],
    )


def _metadata(run: TrainedRun, output: Path) -> dict[str, Any]:
    lines = Tail(output / "metrics.jsonl").read()
    return {
        **json.loads((output / "result.json").read_text()),
        **(lines[-1]["metrics"] if lines else {}),
        "data_version": run.data_version,
        "mlflow_run": run.mlflow_run,
        "output": dg.MetadataValue.path(output),
        "losses": previews.picture(loss_curve(lines), "losses"),
    }
