"""The folder of a run has one writer: the first process of one training."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from store.errors import BusyError
from store.locks import lease_of
from training.errors import FAILURE, FolderBusyError, TrainingError

LOCK = "lock"
POLL_SECONDS = 0.2
LEASE_PATIENCE = 45.0  # seconds; longer than the lease of a machine that is gone lasts
logger = logging.getLogger("training")


class RunFolder:
    """The folder of a run, held by this process."""

    def __init__(self, output: Path, mark: str) -> None:
        self.output, self._mark = output, mark

    def expect_own(self) -> None:
        """Raise TrainingError where another training has taken the folder over.

        The lock of a host that was cut off from a shared disk is lost without a word, so this is asked before anything
        is written.
        """
        try:
            mark = (self.output / LOCK).read_text(encoding="utf-8")
        except OSError:
            mark = ""
        if mark != self._mark:
            raise TrainingError(
                f"another training has taken over {self.output} while this one on {socket.gethostname()} was cut off; "
                "this one ends and writes nothing more"
            )


@contextmanager
def own_folder(output: Path, patience: float = 0) -> Iterator[RunFolder]:
    """Hold the run's folder: two trainers never write into one. The kernel frees it however its holder ends.

    `patience` are the seconds to wait for a trainer before, which may be ending.

    Raises:
        FolderBusyError: another process trains there.
        TrainingError: torchrun starts again what has failed for a reason that a user has to mend: the same sentence.
    """
    output.mkdir(parents=True, exist_ok=True)
    mark = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}\n"
    with (output / LOCK).open("a+", encoding="utf-8") as handle, ExitStack() as stack:
        _take(handle.fileno(), output, patience)
        _lease(output, patience, stack)
        handle.truncate(0)
        handle.write(mark)
        handle.flush()
        failure = output / FAILURE
        if is_restart() and failure.exists():
            raise TrainingError(failure.read_text(encoding="utf-8").strip())
        failure.unlink(missing_ok=True)
        yield RunFolder(output, mark)


def _lease(output: Path, patience: float, stack: ExitStack) -> None:
    """Where the folder is one of a home on object storage, hold its lease too: for trainers on other machines."""
    busy = f"Another process trains in {output}"
    try:
        stack.enter_context(lease_of(output / LOCK, busy, logger.warning, max(patience, LEASE_PATIENCE)))
    except BusyError as error:
        raise FolderBusyError(str(error)) from None


def is_restart() -> bool:
    """Whether torchrun starts this process again after one that has failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _take(descriptor: int, output: Path, patience: float) -> None:
    deadline, said = time.monotonic() + patience, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                sentence = f"another process is training in {output}; wait for it or stop it"
                raise FolderBusyError(sentence) from error
        if not said:
            logger.warning("another process is training in %s; waiting %.0f s for it to end", output, patience)
            said = True
        time.sleep(POLL_SECONDS)
