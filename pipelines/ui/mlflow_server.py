"""The pages of MLflow behind a guard: `python -m pipelines.ui.mlflow_server PORT`, as `mlflow server` serves them.

MLflow by itself answers pages of every other port of this machine, and reads for pages of any origin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ingestion.workspace import Workspace
from pipelines.ui.guard import NAMES, serve
from tracking.tracker import create_store

PAGES = "/"  # the rest of an address of MLflow stands behind a `#`


def create_app(home: Path, port: int) -> Any:
    """MLflow's application over the store of a home; one for each process."""
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": create_store(home),  # the names by which `mlflow server` tells its workers
        "_MLFLOW_SERVER_ARTIFACT_ROOT": (home / "mlartifacts").as_uri(),
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:{port}" for name in NAMES),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    from mlflow.server.fastapi_app import app

    return app


def main(port: int) -> None:
    """Serve until the process is asked to stop."""
    serve(create_app(Workspace().home_path(), port), port, PAGES)


if __name__ == "__main__":
    main(int(sys.argv[1]))
