"""Runs a job of Dagster and says what becomes of it.

Exit status: 0 done; 2 a mistake that the user can mend, said in one sentence; 1 a fault of ours; 130 stopped by Ctrl-C.
What libraries print and the stacks of errors go to a file, which is named where something went wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.run.screen import Screen
from store.code import ROOT
from store.errors import SettingError, sentence_of
from store.home import VARIABLE, based, is_checkout
from store.remote.mirror import is_address, name_of
from tracking.places.postgres import HISTORY_VARIABLE

if TYPE_CHECKING:
    import dagster as dg

    from pipelines.run.failures import Ending

DONE, FAULT, MISTAKE, STOPPED = 0, 1, 2, 130
STOPPED_SENTENCE = "stopped; the same command goes on where it was."
TAG = "radalign/command"  # of a run: finds it in the history
DEFINITIONS = "pipelines.definitions"


def main(arguments: Sequence[str]) -> int:
    """Run the job that the command line names; returns the exit status."""
    options = build_parser().parse_args(arguments)
    options.config = [str(Path(name).absolute()) for name in options.config]
    with Screen() as screen:
        screen.name = options.job
        try:
            _choose_history(options.home)
            _expect_history()
            return run(options, screen)
        except KeyboardInterrupt:
            screen.complain(STOPPED_SENTENCE)
            return STOPPED
        except Exception as error:
            sentence = sentence_of(error)
            if sentence:
                screen.complain(sentence)
                return MISTAKE
            screen.keep_stack(error)
            screen.complain(f"{type(error).__name__} in our code; the stack is in {screen.keep_log()}.")
            return FAULT


def build_parser() -> argparse.ArgumentParser:
    """The options of a run, which `radalign` has as well."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description=__doc__)
    parser.add_argument("job", help="a job: ingest, or pretrain_, evaluate_, audit_ or monitor_<method>")
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    for name in ("home", "cohort", "root", "preset"):
        parser.add_argument(f"--{name}", default="")
    return parser


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Check everything that can be checked, execute the job, and say how it ended.

    Raises:
        UserError: a mistake that was found before the run began.
    """
    from pipelines.identity import introduce, workspace_of
    from pipelines.preflight.check import check_run
    from pipelines.run.config import build_config

    job = find_job(options.job)
    config = build_config(options, job)
    expect_config(job, config)
    workspace = workspace_of(config)
    screen.home = workspace.home_path()
    check_run({node.name for node in job.graph.nodes}, config, job.tags, screen.warn)
    screen.line(introduce(workspace))
    ending = execute(job, config, screen, _epochs(job.name, config, workspace))
    if ending is None:
        _show_results(workspace, options.job, screen)
        return DONE
    if ending.stopped:
        screen.complain(STOPPED_SENTENCE)
        return STOPPED
    log = screen.keep_log()
    if ending.mendable:
        screen.complain(f"{ending.sentence}\n  (The log is {log}.)")
        return MISTAKE
    screen.complain(f"{ending.sentence}; the stack is in {log}.")
    return FAULT


def find_job(name: str) -> dg.JobDefinition:
    """The job; `UserError` names the nearest one where there is none."""
    from models.registry import evaluated_modules, method_modules
    from pipelines.definitions import defs
    from pipelines.jobs import jobs
    from store.errors import did_you_mean

    names = [job.name for job in jobs]
    kind, _, method = name.partition("_")
    if name not in names:
        if kind in ("pretrain", "evaluate", "audit", "monitor") and method:
            (method_modules if kind == "pretrain" else evaluated_modules)(method)  # raises, and names the methods
        raise SettingError(f"There is no job {name}{did_you_mean(name, names)}; jobs are {', '.join(names)}.")
    return defs.resolve_job_def(name)


def expect_config(job: dg.JobDefinition, config: dict[str, Any]) -> None:
    """Raise SettingError for what Dagster's schema does not know."""
    import dagster as dg
    from pydantic import ValidationError

    from pipelines.preflight.mistakes import explain_config

    try:
        dg.validate_run_config(job, config)
    except (dg.DagsterError, ValidationError) as error:
        raise SettingError(explain_config(error)) from None


def execute(job: dg.JobDefinition, config: dict[str, Any], screen: Screen, epochs: float) -> Ending | None:
    """Execute the job as `dagster job execute` does, in the same history; returns what ended it early."""
    import dagster as dg
    from dagster._cli.utils import get_possibly_temporary_instance_for_cli
    from dagster._core.definitions.reconstruct import ReconstructableRepository
    from dagster._utils.interrupts import capture_interrupts

    from pipelines.run.failures import Ending
    from pipelines.run.progress import Follower

    repository = ReconstructableRepository.for_module(DEFINITIONS, "defs", str(ROOT))
    tag = {TAG: str(uuid.uuid4())}
    with capture_interrupts(), get_possibly_temporary_instance_for_cli("radalign") as instance:
        with Follower(instance, tag, screen, epochs) as follower:
            whole = repository.get_reconstructable_job(job.name)
            result = dg.execute_job(whole, instance, run_config=config, tags=tag, raise_on_error=False)
        if result.success:
            return None
        return follower.progress.ending or Ending("The run failed without a reason", mendable=False)


def _choose_history(home: str) -> None:
    """The history of the home, with the settings of the checkout unless there are others here."""
    if home:
        os.environ[VARIABLE] = home if is_address(home) else str(based(home))
    if is_checkout() and not Path("dagster.yaml").exists():
        os.environ.setdefault("DAGSTER_HOME", str(ROOT))


def _expect_history() -> None:
    """Raise UserError where the history cannot be opened, which Dagster itself would say where nobody sees it."""
    if os.environ.get(HISTORY_VARIABLE):
        from pipelines.history import open_history

        open_history()


def _epochs(job: str, config: dict[str, Any], workspace: Any) -> float:
    """How many epochs the training of a job has; 0 where it has none, or a number of steps."""
    from assets.networks.pretrained import pretraining_config
    from assets.settings.presets import chosen_training

    kind, _, method = job.partition("_")
    if kind != "pretrain":
        return 0.0
    given = ((config.get("ops") or {}).get(f"pretrained__{method}") or {}).get("config") or {}
    settings = chosen_training(method, pretraining_config(method)(**given), workspace.preset_name())
    return 0.0 if settings["max_steps"] else float(settings["epochs"])


def _show_results(workspace: Any, job: str, screen: Screen) -> None:
    from pipelines.run.numbers import leading_numbers

    kind, _, method = job.partition("_")
    if kind == "audit":
        _show_audits(workspace, method, screen)
        return
    if kind == "monitor":
        _show_nights(workspace, method, screen)
        return
    lines = list(leading_numbers(workspace, method, kind == "evaluate")) if method else []
    for line in ["", *lines] if lines else []:
        screen.line(line)
    home = workspace.home_path()
    screen.line(f"\nEverything is in {name_of(home)}; `make ui` shows the run in the browser.")
    if lines:
        screen.line(f"`radalign results` prints every number; the tables: {home / 'results' / 'tables' / 'index.html'}")


def _show_audits(workspace: Any, method: str, screen: Screen) -> None:
    """Where the page and the card of the latest run are, and what is found, one sentence a line."""
    from evaluation.audit.run import PAGE, folder_of, read_headlines
    from tracking.runs import trained_run

    folder = folder_of(workspace, trained_run(workspace, method))
    for line in ("", *read_headlines(folder), "", f"The audit and its model card: {folder / PAGE}"):
        screen.line(line)


def _show_nights(workspace: Any, method: str, screen: Screen) -> None:
    """Where the page of the latest run is."""
    from evaluation.monitoring.watch import page_path
    from tracking.runs import trained_run

    screen.line("")
    screen.line(f"The nights since the training: {page_path(workspace, trained_run(workspace, method))}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
