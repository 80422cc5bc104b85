"""`python -m pipelines.cluster.worker check`, or `... api execute_step`: what an engine starts on another machine.

Checks that this machine has what the run has (`pipelines.cluster.conditions`). With further arguments it goes on as
the command `dagster` with them. Exit status 3: the machine differs; the last line says in one sentence how.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

DIFFERS = 3
SAYS = "radalign worker: "  # begins the line with the sentence
CHECK = "check"


def main(arguments: Sequence[str]) -> int:
    """Check, then run the command; returns the exit status."""
    from pipelines.cluster.conditions import CONDITIONS, Conditions, expect_conditions
    from store.errors import UserError

    try:
        expect_conditions(Conditions.from_json(os.environ.get(CONDITIONS, "")))
    except UserError as error:
        sys.stderr.write(f"{SAYS}{error}\n")
        return DIFFERS
    if arguments == [CHECK]:
        return 0
    from dagster._cli import cli

    cli(args=list(arguments), prog_name="dagster")  # ends the process
    return 0


def find_sentence(printed: str) -> str:
    """The sentence in what a worker printed, or empty."""
    lines = [line.partition(SAYS)[2] for line in printed.splitlines() if SAYS in line]
    return lines[-1].strip() if lines else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
