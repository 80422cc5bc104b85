"""The command `radalign`: what the library does, from a terminal. Every level has `--help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from radalign.command.parser import Runner, build_parser
from radalign.errors import RadalignError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 with one sentence that says what to do, 2 wrong usage.

    A job of the pipelines takes the place of this process and has its own exit status: `pipelines.run`.
    """
    options = build_parser().parse_args(arguments)
    run: Runner = options.run
    try:
        return run(options)
    except RadalignError as error:
        sys.stderr.write(f"radalign: {error}\n")
        return 1
    except BrokenPipeError:  # the reader of the output, such as `head`, has what it wants
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("radalign: stopped; the same command goes on where it was.\n")
        return 130
