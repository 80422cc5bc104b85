"""`python -m assets.report`: the result table of the latest runs on the terminal, and where to look next."""

from __future__ import annotations

import sys

from assets.evaluated import latest_results
from assets.workspace import Workspace


def main() -> int:
    """Print the table; returns the exit status."""
    from evaluation.results.text_tables import as_text

    workspace = Workspace()
    sys.stdout.write(as_text(latest_results(workspace)) + "\n\n")
    sys.stdout.write(
        f"Everything lies in {workspace.home_path()}. `make ui` shows lineage and counts (Dagster) and the "
        "curves of the training (MLflow) in the browser.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
