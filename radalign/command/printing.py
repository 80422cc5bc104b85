"""Lines that a command prints beside its result."""

from __future__ import annotations

import sys


def log(line: str) -> None:
    """Print a line of progress to standard error at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
