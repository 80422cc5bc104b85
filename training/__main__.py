"""`python -m training CONFIG.json`: the one entry to training, by hand or as the child of a Dagster step."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from training.config import TrainingConfig, TrainingError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> int:
    """Run the configuration named on the command line; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m training CONFIG.json\n")
        return 2
    launched = "DAGSTER_PIPES_CONTEXT" in os.environ
    if launched:
        die_with_parent()
    try:
        config = TrainingConfig.load(Path(arguments[0]))
        with locked(Path(config.output)), reporter(launched) as report:
            from training.loop import train

            train(config, report)
    except (TrainingError, ValueError) as error:
        sys.stderr.write(f"training: {error}\n")
        return 1
    return 0


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that no orphan holds the GPU."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the request
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the run's folder: two trainers never write into one."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"another process is training in {output}; wait for it or stop it") from error
        yield


@contextmanager
def reporter(launched: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar in a terminal, log lines every tenth of the way under Dagster."""
    if not launched:
        with tqdm(unit="step", disable=None) as bar:

            def advance(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield advance
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:

        def say(done: int, total: int) -> None:
            if done * 10 // total > (done - 1) * 10 // total:
                pipes.log.info(f"step {done} of {total}")

        yield say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
