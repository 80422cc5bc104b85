"""The terminal of a run: our lines and one bar. What libraries and child processes print goes to a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from store.home import default_home

QUIET_SECONDS = 15.0  # between two lines of progress where there is no terminal to show a bar in
LOGS = "logs"  # in the home


class Screen:
    """Takes standard output and standard error over, for this process and its children, until it is closed.

    Lines go to the former standard output, complaints to the former standard error.
    """

    def __init__(self) -> None:
        self.name, self.home = "run", default_home()  # of the log, once somebody knows better
        self._bar: tqdm[Any] | None = None
        self._shown = ""  # what the bar is of
        self._warned: set[str] = set()
        self._last = time.monotonic()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Screen:
        sys.stdout.flush()
        sys.stderr.flush()
        self._out = self._stack.enter_context(os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"))
        self._err = self._stack.enter_context(os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace"))
        self._log = self._stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace"))
        for number, former in ((1, self._out), (2, self._err)):
            os.dup2(self._log.fileno(), number)
            self._stack.callback(os.dup2, former.fileno(), number)
        self._stack.enter_context(contextlib.redirect_stdout(self._log))
        self._stack.enter_context(contextlib.redirect_stderr(self._log))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_bar()
        self._stack.close()

    def line(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self.end_bar()
        self._write(self._out, text)

    def warn(self, text: str) -> None:
        """Print a warning, unless it was printed before: a run is checked here and by its executor."""
        if text not in self._warned:
            self._warned.add(text)
            self.line(f"  warning: {text}")

    def complain(self, text: str) -> None:
        """Print a line that says what is wrong."""
        self.end_bar()
        self._write(self._err, f"radalign: {text}")

    def progress(self, title: str, done: float, total: float, text: str) -> None:
        """Show how far a stage is: a bar in a terminal, else `text` as a line now and then. Without `total` no bar."""
        if not self._err.isatty():
            if text and time.monotonic() - self._last > QUIET_SECONDS:
                self._write(self._out, f"  {text}")
            return
        if self._bar is None or self._shown != title:
            self.end_bar()
            shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.4g}/{total:.4g} [{elapsed}<{remaining}] {postfix}"
            plain = "{desc}: {elapsed} {postfix}"
            self._shown = title
            self._bar = tqdm(
                total=total or None, desc=title, file=self._err, leave=False, bar_format=shape if total else plain
            )
        self._bar.total = total or None
        self._bar.n = done
        self._bar.set_postfix_str(text[:60])

    def end_bar(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def keep_stack(self, error: BaseException) -> None:
        """Write the stack of an error to the log."""
        traceback.print_exception(error, file=self._log)

    def keep_log(self) -> Path:
        """Put the log where it stays: into the home or, where that cannot be written, elsewhere; returns its path."""
        self._log.flush()
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{self.name}.log"
        for folder in (self.home / LOGS, Path(tempfile.gettempdir())):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self._log.name, folder / name)
            except OSError:
                continue
            return folder / name
        return Path(os.devnull)

    def _write(self, file: Any, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever reads, such as `head`, has what it wants
            file.write(f"{text}\n")
            file.flush()
        self._last = time.monotonic()
