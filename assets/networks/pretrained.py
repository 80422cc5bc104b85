"""Group `pretraining`: a method, trained on the shards by a launcher; no trainer outlives its step."""

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, create_model

from assets import previews
from assets.networks.dead_runs import close_dead_trainings, end_with_parent
from assets.networks.launchers.launch import expect_launcher, launch
from assets.networks.launchers.settings import Launcher, launcher_field
from assets.settings.launchpad import preset_config
from assets.settings.presets import chosen_training, training_presets
from assets.tables import MLFLOW
from assets.workspace import WorkspaceResource, identify, one_sentence
from ingestion.pooling.build import members_at
from ingestion.versions import pinned
from models.registry import own_variant, settings_class
from models.run_files import METRICS
from shards.pool import load_manifest, origins_of
from store.atomic import write_json
from store.errors import UserError
from store.remote import mirror
from tracking.loss_curve import loss_curve
from tracking.relay import Relay
from tracking.requests import expect_reports, training_request
from tracking.runs import TrainedRun, read_result, recorded_run, remember
from tracking.tracker import RunIdentity, Tail
from training.config import TrainingConfig
from training.errors import FAILURE
from training.state.finished import is_finished

GROUP = "pretraining"
POOL = "gpu"  # for a cluster, whose daemon frees the slots of dead runs; one machine has `one_at_a_time`
Log = Callable[[str], None]
# Set by the asset, not by whoever launches it.
HIDDEN = ("method", "method_config", "shards", "knowledge", "output", "data_version")


@cache
def pretraining_config(method: str) -> type[dg.Config]:
    """The configuration of the asset `pretrained/<method>`."""
    presets = training_presets(method)
    training = preset_config(TrainingConfig, presets, HIDDEN)
    own = preset_config(settings_class(method), {name: one.get("method_config", {}) for name, one in presets.items()})
    nested: Any = (own, Field(default_factory=own, description=f"Settings of {method}."))
    said = "Name of this way to train the method, such as ITA of an ablation: results call it mgca:ITA."
    named: Any = (str, Field("", pattern=r"^[A-Za-z0-9+_.-]*$", description=said))
    return create_model(
        f"Pretrain{own.__name__}",
        __base__=training,
        __doc__=f"How {method} is trained.",
        method_config=nested,
        variant=named,
        launcher=launcher_field(),
    )


def pretrained_asset(method: str) -> dg.AssetsDefinition:
    """The asset `pretrained/<method>`."""
    config_class = pretraining_config(method)

    @dg.asset(
        key=["pretrained", method],
        deps=["shards", "knowledge"],
        group_name=GROUP,
        kinds={"pytorch", "mlflow"},
        pool=POOL,
        description=f"{method}, trained on the shards. An interrupted run is resumed, a finished one is reused.",
    )
    def pretrained(
        context: dg.AssetExecutionContext,
        config: config_class,  # type: ignore[valid-type]
        workspace: WorkspaceResource,
        pipes: dg.PipesSubprocessClient,
    ) -> dg.MaterializeResult[Any]:
        plain = workspace.plain()
        with one_sentence():
            settings = chosen_training(method, config, plain.preset_name())
            variant = config.variant or own_variant(method, settings["method_config"])  # type: ignore[attr-defined]
            kept = pinned(plain, context.run.run_id, context.log.info)
            for member in members_at(kept):
                expect_reports(member)
            request = training_request(kept, method, settings)
            output, home = Path(request["output"]), plain.home_path()
            finished = is_finished(output, context.log.warning)
            if finished:
                write_request(request)
            origins = origins_of(load_manifest(kept.folder("shards")))
            versions = {name: about["data_version"] for name, about in origins.items()}
            identity = RunIdentity.of_request(request, plain.cohort_name(), context.run.run_id, versions)
            alone = nullcontext() if finished else one_at_a_time(home / "training.lock", context.log.info)
            close_dead = None if finished else partial(close_dead_trainings, context.instance, home)
            follow = (home, identity, output / METRICS, context.log.info, close_dead, context.log.warning)
            with alone, Relay(*follow) as relay:
                if not finished:
                    end_with_parent()
                    train(context, pipes, request, config.launcher)  # type: ignore[attr-defined]
            record = relay.tracker.run_id if relay.tracker else recorded_run(plain, output.name, method)
            run = TrainedRun.of_folder(output, home, record, variant, kept.version)
            result = read_result(output)
        if relay.tracker:
            relay.tracker.tag({f"radalign.{name}": value for name, value in result.items()})
            relay.tracker.register(run, output, plain.cohort_name())
        remember(plain, run, context.run.run_id)
        made = {"seed": run.seed, "data_version": run.data_version, "checkpoint": run.checkpoint_digest}
        context.instance.add_run_tags(
            context.run.run_id, {f"radalign/{name}": str(value) for name, value in made.items()}
        )
        page = relay.tracker.address(MLFLOW) if relay.tracker else ""
        link = {"mlflow": dg.MetadataValue.url(page)} if page else {}
        return dg.MaterializeResult(
            metadata={
                "trained": not finished,
                **_metadata(run, output, result),
                **link,
                "trained on": _show(origins),
                **identify(plain),
            },
            data_version=dg.DataVersion(run.checkpoint_digest),
        )

    return pretrained


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


def train(
    context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient, request: Mapping[str, Any], launcher: Launcher
) -> None:
    """Run the trainer to its end. A mistake fails with its sentence; a trainer that was killed is tried once more.

    A retry policy of the asset would also try again what somebody has interrupted.
    """
    output = Path(request["output"])
    explanation = output / FAILURE
    path = write_request(request)
    expect_launcher(launcher, TrainingConfig.from_dict(dict(request), "the launchpad"), output)
    explanation.unlink(missing_ok=True)
    try:
        launch(launcher, context, pipes, path, output)
    except UserError:
        raise
    except Exception as error:
        if explanation.exists():
            raise dg.Failure(explanation.read_text().strip(), allow_retries=False) from None
        context.log.warning(f"The trainer was killed or broke off ({error}); it goes on from its last checkpoint.")
        raise dg.RetryRequested(max_retries=1) from error


def write_request(request: Mapping[str, Any]) -> Path:
    """Write what the trainer is asked for, and refuse impossible settings before anything starts."""
    config = TrainingConfig.from_dict(dict(request), "the launchpad")
    output = Path(request["output"])
    write_json(output / "request.json", request)
    config.save(output / "config.json")
    mirror.publish(output / "request.json", output / "config.json")
    return output / "request.json"


def _show(origins: Mapping[str, Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    """Which cohorts a network was trained on, and what of them was left out."""
    header = ("cohort", "data version", "rows", "left out")
    return previews.markdown_table(
        header,
        [
            (name, about["data_version"], _count(about["rows"]), _count(about["left_out"]) or "nothing")
            for name, about in origins.items()
        ],
    )


def _count(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())


def _metadata(run: TrainedRun, output: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    lines = Tail(output / METRICS).read()
    return {
        **result,
        **(lines[-1]["metrics"] if lines else {}),
        "data_version": run.data_version,
        "mlflow_run": run.mlflow_run,
        "output": dg.MetadataValue.path(output),
        "losses": previews.picture(loss_curve(lines), "losses"),
    }
