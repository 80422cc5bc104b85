"""Clients of Ray's dashboard that do not wait for ever for a cluster that was cut off."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from training.errors import TrainingError

TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
PATIENCE_SECONDS = 300.0  # for a cluster that answered before
PAUSE_SECONDS = 2.0
UNREACHABLE: tuple[type[Exception], ...] = (ConnectionError, requests.RequestException)
FIRST_ADDRESS = "RAY_API_SERVER_ADDRESS"  # the variable that counts more than all other addresses
LOG = logging.getLogger(__name__)


class Client(JobSubmissionClient):
    """Ray's client of the cluster at an address, whose requests have a limit of time."""

    def __init__(self, address: str) -> None:
        with addressing(address):
            super().__init__(address)

    def _do_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super()._do_request(*args, **{"timeout": TIMEOUT_SECONDS, **kwargs})


@contextmanager
def addressing(address: str) -> Iterator[None]:
    """In here all clients of Ray take this address. Outside, Ray's variables count more than what a client is given."""
    before = os.environ.get(FIRST_ADDRESS)
    os.environ[FIRST_ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[FIRST_ADDRESS]
        else:
            os.environ[FIRST_ADDRESS] = before


def refusal_of(address: str) -> str:
    """Why the cluster at the address of a dashboard cannot be used from here, in one sentence; empty where it can."""
    try:
        client = Client(address)
    except AuthenticationError:
        return (
            f"Ray at {address} wants the token of its cluster: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a "
            "file with the token."
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        why = str(error).partition("\n")[0][:120].rstrip(".") or type(error).__name__
        return (
            f"Ray does not answer at {address} ({why}): start it with `ray start --head --include-dashboard=true`, or "
            "name the address of its dashboard in RAY_ADDRESS or `address`."
        )
    if client._server_ray_version != ray.__version__:
        return (
            f"The cluster at {address} runs Ray {client._server_ray_version}, and this environment has Ray "
            f"{ray.__version__}: start the cluster in the same environment (`. ./activate`)."
        )
    return ""


class PatientClient(Client):
    """Asks again while the cluster is away. What changes something there is asked once: it may have had its effect."""

    def _do_request(self, method: str, *args: Any, **kwargs: Any) -> requests.Response:
        deadline, said = time.monotonic() + PATIENCE_SECONDS, False
        while True:
            try:
                return super()._do_request(method, *args, **kwargs)
            except UNREACHABLE as error:
                if method != "GET" or time.monotonic() > deadline:
                    raise TrainingError(
                        f"Ray at {self._address} does not answer any more ({type(error).__name__}): give the same "
                        "command again when it does; it ends what still trains, and goes on from the last checkpoint."
                    ) from None
            if not said:
                said = True
                LOG.warning("Ray at %s does not answer; it is asked again for %.0f s", self._address, PATIENCE_SECONDS)
            time.sleep(PAUSE_SECONDS)
