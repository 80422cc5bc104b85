"""Clients of Ray's dashboard that do not wait for ever for a cluster that was cut off."""

from __future__ import annotations

import logging
import time
from typing import Any

import requests
from ray.job_submission import JobSubmissionClient

from training.errors import TrainingError

TIMEOUT_SECONDS = (5, 30)  # to connect, to answer
PATIENCE_SECONDS = 300.0  # for a cluster that answered before
PAUSE_SECONDS = 2.0
UNREACHABLE: tuple[type[Exception], ...] = (ConnectionError, requests.RequestException)
LOG = logging.getLogger(__name__)


class Client(JobSubmissionClient):
    """Ray's client, whose requests have a limit of time."""

    def _do_request(self, *args: Any, **kwargs: Any) -> requests.Response:
        return super()._do_request(*args, **{"timeout": TIMEOUT_SECONDS, **kwargs})


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
