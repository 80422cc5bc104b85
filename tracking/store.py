"""The MLflow store of a home, wherever it is (`tracking.places`), and the experiment of its runs.

A store that cannot be used now is a TrackingError, which stops no training. Importing MLflow takes seconds, so
functions import it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import sentence_of
from store.remote.mirror import name_of
from tracking.errors import StoreBusyError as StoreBusyError
from tracking.errors import TrackingError as TrackingError
from tracking.layout import TAGS
from tracking.places import Place, place_of
from tracking.places.locking import locked as locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "radalign"
HOME_TAG = "radalign.home"  # of a run: other homes may record in the same store
TRIES, PAUSE_SECONDS = 4, 2.0  # to open a shared store again
CREDENTIALS = re.compile(r"(://)[^/@\s]+@")  # in an address

_warn = logging.getLogger(__name__).warning


def experiment_id(home: Path) -> str:
    """The experiment that holds every run of this home, which the address of a run's page names."""
    return connect(home)[1]


def tracking_uri(home: Path) -> str:
    """The address of the store for MLflow, with its password: its own default depends on the working directory."""
    return place_of(home).uri()


def create_store(home: Path) -> str:
    """Make sure that the store and its experiment are there; returns its address."""
    connect(home)
    return tracking_uri(home)


def has_store(home: Path) -> bool:
    """Whether anything may have been tracked for this home; costs no import of MLflow."""
    return place_of(home).exists()


def expect_store(home: Path) -> None:
    """Raise TrackingError where the store that RADALIGN_MLFLOW names cannot be used; costs no import of MLflow."""
    place_of(home).expect()


def home_filter(home: Path) -> str:
    """What is added to a search for runs of this home, where other homes record in the same store."""
    if not place_of(home).shared:
        return ""
    name = name_of(home)
    quote = '"' if "'" in name else "'"  # MLflow knows no escapes within either
    return f" and tags.`{HOME_TAG}` = {quote}{name}{quote}"


def connect(home: Path, warn: Callable[[str], object] = _warn) -> tuple[MlflowClient, str]:
    """A client on this home's store, and the experiment of its runs.

    `warn` is told what had to be mended. TrackingError where the store cannot be used.
    """
    place = place_of(home)
    for _ in range(TRIES if place.shared else 0):  # a server that restarts while the tables are made
        try:
            return _connect(home, place, warn)
        except StoreBusyError:
            time.sleep(PAUSE_SECONDS)
    return _connect(home, place, warn)


def _connect(home: Path, place: Place, warn: Callable[[str], object]) -> tuple[MlflowClient, str]:
    with explaining(home), place.opening(warn):
        from mlflow import MlflowClient

        client = MlflowClient(place.uri())
        return client, _experiment(client, place.artifacts())


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    """The experiment of all runs, made where it is missing, as this version describes it."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifacts, TAGS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(EXPERIMENT)  # another machine was faster
            assert experiment is not None
    experiment_id = str(experiment.experiment_id)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment_id)
    for name in TAGS.keys() - experiment.tags.keys():  # of a former version
        client.set_experiment_tag(experiment_id, name, TAGS[name])
    return experiment_id


@contextmanager
def explaining(home: Path) -> Iterator[None]:
    """Raise a TrackingError for whatever MLflow, its database or a disk raises."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        place = place_of(home)
        if found := place.explain(error):
            raise found from error
        text = CREDENTIALS.sub(r"\1***@", " ".join(str(error).split()))
        why = sentence_of(error) or f"{type(error).__name__}: {text[:200]}"
        raise TrackingError(f"MLflow does not record this in {place}: {why}") from error
