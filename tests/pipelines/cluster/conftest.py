from __future__ import annotations

import shutil

import dagster as dg
import pytest

from benchmarks.kills import Place
from pipelines.definitions import defs


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A home that one machine made, and its copy `never`."""
    place = Place(tmp_path_factory.mktemp("cluster"), studies=30)
    home = place.folder / "home"
    with dg.DagsterInstance.ephemeral() as instance:
        defs.resolve_job_def("ingest").execute_in_process(
            run_config=place.config(home), instance=instance, partition_key="phantom"
        )
    shutil.copytree(home, place.folder / "never")
    return place


@pytest.fixture
def place(made):
    """The home as it is, without its images."""
    home = made.folder / "home"
    shutil.rmtree(home)
    shutil.copytree(made.folder / "never", home)
    shutil.rmtree(home / "phantom" / "images")
    return made
