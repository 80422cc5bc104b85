"""A sign of life between the step that launched a training and its first process on another machine.

The kernel ends a child with its parent, and no kernel spans machines. So the step changes a file in the run's folder
every few seconds, and a training that sees it change no more stops, with its checkpoint written.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from store.errors import SettingError
from store.processes import beside

HEARTBEAT = "RADALIGN_HEARTBEAT"  # in the environment of a training: the file
SILENCE = "RADALIGN_HEARTBEAT_SECONDS"  # seconds without a change after which the training stops
BEAT_SECONDS, SILENCE_SECONDS = 10.0, 600.0


@contextmanager
def beating(path: Path, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Change the file every so many seconds while the block runs."""
    ended = threading.Event()

    def beat() -> None:
        count = 0
        while not ended.wait(seconds if count else 0):
            count += 1
            try:
                path.write_text(f"{count}\n", encoding="utf-8")
            except OSError:  # a disk that is back before the training gives up has not been missed
                continue

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0\n", encoding="utf-8")
    try:
        with beside(beat, ended, "heartbeat"):
            yield
    finally:
        path.unlink(missing_ok=True)


def watch_heartbeat() -> None:
    """Ask this process to stop when the file that `RADALIGN_HEARTBEAT` names changes no more; no-op without one.

    Compared is what the file says, not its time: clocks of two machines differ. A machine that does not see the file
    does not watch it.
    """
    name = os.environ.get(HEARTBEAT, "")
    if not name or not Path(name).exists():
        return
    path, silence = Path(name), silence_seconds()

    def watch() -> None:
        last, since = "", monotonic()
        while True:
            try:
                now = path.read_text(encoding="utf-8")
            except OSError:
                now = last
            if now != last:
                last, since = now, monotonic()
            elif monotonic() - since > silence:
                sys.stderr.write(
                    f"training: the step that started it has given no sign of life for {silence:.0f} s, so it stops\n"
                )
                os.kill(os.getpid(), signal.SIGTERM)
                return
            ended.wait(min(BEAT_SECONDS, silence / 4))

    ended = threading.Event()
    threading.Thread(target=watch, name="heartbeat-watch", daemon=True).start()


def silence_seconds() -> float:
    """Without a change, after which the training stops; SettingError where the variable says none."""
    given = os.environ.get(SILENCE) or SILENCE_SECONDS
    try:
        found = float(given)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise SettingError(f"{SILENCE} is {given!r}, but must be a number of seconds above 0.")
    return found
