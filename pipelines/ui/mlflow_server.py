"""The pages of MLflow behind a guard: `python -m pipelines.ui.mlflow_server PORT`, as `mlflow server` serves them.

MLflow by itself answers pages of every other port of this machine, and reads for pages of any origin.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from ingestion.workspace import Workspace
from pipelines.ui.opening import Opening
from radalign.serving.guard import NAMES, Application, serve
from store.errors import UserError
from tracking.places import place_of
from tracking.store import experiment_id, tracking_uri

PAGES = "/"  # the rest of an address of MLflow stands behind a `#`


def create_app(home: Path, port: int) -> Application:
    """MLflow's application, opening on the trainings, over the store of a home; one for each process."""
    experiment = experiment_id(home)
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": tracking_uri(home),  # the names by which `mlflow server` tells its workers
        "_MLFLOW_SERVER_ARTIFACT_ROOT": place_of(home).artifacts() or "",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{name}:{port}" for name in NAMES),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with warnings.catch_warnings(action="ignore"):  # MLflow's own, about a part of Starlette
        from mlflow.server import app as pages
        from mlflow.server.fastapi_app import app

    page = Path(str(pages.static_folder), "index.html").read_text(encoding="utf-8")
    return Opening(app, page, experiment)


def main(port: int) -> None:
    """Serve until the process is asked to stop."""
    serve(create_app(Workspace().home_path(), port), port, PAGES)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except UserError as error:
        sys.exit(str(error))
