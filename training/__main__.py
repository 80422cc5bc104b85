"""`python -m training CONFIG.json`: the one entry to training, by hand, under torchrun, or as a Dagster step's child.

Exit status: 0 done, 1 with one sentence that says why not, 2 wrong usage, 128 + signal when stopped by SIGTERM or
SIGINT with the checkpoint written. SIGUSR1 writes a checkpoint, and the training goes on. The same command goes on
where the last one ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from store.errors import UserError
from store.processes import die_with
from store.remote import mirror
from training.config import TrainingConfig
from training.errors import FAILURE, PARENT, FolderBusyError, PeerLostError
from training.parallel.heartbeat import watch_heartbeat
from training.state.folder import is_restart

PATIENCE = 15.0  # seconds for a trainer that was killed with its step to leave the run's folder
LOG = logging.getLogger("training")


def main(arguments: list[str]) -> int:
    """Run the configuration named on the command line; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m training CONFIG.json\n")
        return 2
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the first step, when there is something to keep
    launched = "DAGSTER_PIPES_CONTEXT" in os.environ
    if "TORCHELASTIC_RUN_ID" in os.environ:
        die_with(os.getppid())  # the agent of torchrun
    elif launched:
        die_with(int(os.environ.get(PARENT) or os.getppid()))
    try:
        config = TrainingConfig.load(here(arguments[0]))
        output = Path(config.output)
        with open_reporter(launched) as report, keep_error_sentence(output):
            return run(config, report, patience_for(config, launched))
    except (UserError, PeerLostError) as error:
        sys.stderr.write(f"training: {error}\n")
        return 1


def here(place: str) -> Path:
    """The file of a configuration, which is brought to this machine where its name is an address of the home."""
    path = Path(mirror.local_path(place))
    mirror.fetch(path)
    return path


def patience_for(config: TrainingConfig, launched: bool) -> float:
    """Seconds to wait for a trainer before that may still hold the run's folder.

    One that was killed with its step ends at once. The first process of a run whose host was cut off ends when it gives
    up the others.
    """
    waits = launched or "TORCHELASTIC_RUN_ID" in os.environ
    return PATIENCE * waits + config.peer_timeout * is_restart()


def run(config: TrainingConfig, report: Callable[[int, int], None], patience: float) -> int:
    """Train until the end or until a signal asks to stop; returns the exit status."""
    from training.guards import StoppedError, StopRequest
    from training.loop import train

    stop = StopRequest()
    try:
        with stop.listening():
            if is_first_process():
                watch_heartbeat()
            train(config, report, stop, patience)
    except StoppedError as stopped:
        sys.stderr.write(f"training: {stopped}\n")
        return stopped.status
    return 0


def is_first_process() -> bool:
    """Whether this is the only process of a run, or torchrun's rank 0, which speaks for all."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def keep_error_sentence(output: Path) -> Iterator[None]:
    """Leave the sentence of an error in the run's folder: under torchrun the exit status does not tell it."""
    try:
        yield
    except FolderBusyError:  # the folder is another one's
        raise
    except UserError as error:
        if is_first_process():
            output.mkdir(parents=True, exist_ok=True)
            (output / FAILURE).write_text(f"{error}\n", encoding="utf-8")
        raise


@contextmanager
def open_reporter(launched: bool) -> Iterator[Callable[[int, int], None]]:
    """Where progress and notices go: a bar in a terminal and lines of text, or the log of the Dagster run."""
    LOG.setLevel(logging.INFO)
    if not is_first_process():
        yield lambda done, total: None
    elif launched:
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as pipes:
            LOG.addHandler(_Forward(pipes.log))
            try:
                yield lambda done, total: None  # the step that launched this follows metrics.jsonl
            except UserError as error:  # its folder may be on another machine
                pipes.report_custom_message({FAILURE: str(error)})
                raise
    else:
        LOG.addHandler(logging.StreamHandler())
        with tqdm(unit="step", disable=None) as bar, logging_redirect_tqdm([LOG]):
            yield _advance(bar)


def _advance(bar: tqdm) -> Callable[[int, int], None]:  # type: ignore[type-arg]
    def advance(done: int, total: int) -> None:
        if bar.total != total:  # the first step after a start or a resume
            bar.initial = done - 1
            bar.reset(total)
        bar.update(done - bar.n)

    return advance


class _Forward(logging.Handler):
    """Passes records on to another logger."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        self._target.log(record.levelno, record.getMessage())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
