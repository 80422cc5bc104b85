"""A server of MLflow that others operate: http://HOST:5000.

A name and a password, where it asks for them, are in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or a token
in MLFLOW_TRACKING_TOKEN: MLflow reads these itself.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tracking.errors import StoreBusyError, TrackingError
from tracking.places.postgres import PATIENCE_SECONDS

SECONDS = 10.0  # for the first answer
VERSION = re.compile(r"\d+\.\d+[\w.]*")
AWAY = re.compile(r"Max retries exceeded|too many 5\d\d|Connection (refused|reset|aborted)|timed out|\b50[234]\b")
TOKEN = re.compile(r"[!-~][ -~]*")  # what a header can hold
REFUSED = re.compile(r"\b40[13]\b|Unauthorized|Permission denied|not authenticated", re.IGNORECASE)
CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"

Warn = Callable[[str], object]


class ServerPlace:
    """A server of MLflow."""

    shared = True
    patience = PATIENCE_SECONDS

    def __init__(self, address: str, variable: str) -> None:
        self.address, self.variable = address.rstrip("/"), variable

    @classmethod
    def of(cls, address: str, variable: str) -> ServerPlace:
        """The server at an address; TrackingError where it holds a password, which would be in links and messages."""
        try:
            parts = urlsplit(address)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise TrackingError(f"{variable} is no address of an MLflow server, such as http://HOST:5000.")
        if "@" in parts.netloc:
            raise TrackingError(
                f"{variable} holds a name or a password: leave them out of the address, and set {CREDENTIALS}."
            )
        return cls(address, variable)

    def __str__(self) -> str:
        return f"the MLflow server {self.address}"

    def exists(self) -> bool:
        """Somebody has named it."""
        return True

    def expect(self) -> None:
        """TrackingError where no MLflow answers at the address, or it refuses us."""
        try:
            request = Request(f"{self.address}/version")
            for name, value in _credentials().items():
                request.add_unredirected_header(name, value)  # another server must not be told
            with urlopen(request, timeout=SECONDS) as answer:
                text = answer.read(200).decode("utf-8", "replace").strip()
        except HTTPError as error:
            if error.code in (401, 403):
                raise TrackingError(f"{self.variable}: {self} refuses us: set {CREDENTIALS}.") from None
            raise TrackingError(
                f"{self.variable}: {self.address} answers with status {error.code}, so no MLflow is there: correct the "
                "address."
            ) from None
        except (URLError, HTTPException, OSError, ValueError) as error:
            why = str(getattr(error, "reason", None) or error).strip()
            raise TrackingError(
                f"{self.variable}: {self} does not answer ({why}): start it, or correct the address."
            ) from None
        if not VERSION.fullmatch(text):
            raise TrackingError(f"{self.variable}: what answers at {self.address} is no MLflow: correct the address.")

    def uri(self) -> str:
        """As it was given."""
        return self.address

    def artifacts(self) -> None:
        """The server decides."""

    @contextmanager
    def opening(self, warn: Warn) -> Iterator[None]:
        """The server has made its tables."""
        yield

    def explain(self, error: Exception) -> TrackingError | None:
        """What an error of a request means."""
        text = str(error)
        if AWAY.search(text):
            return StoreBusyError(f"{self} does not answer, so MLflow records nothing now.")
        if REFUSED.search(text):
            return TrackingError(f"{self} refuses us, so MLflow records nothing: set {CREDENTIALS}.")
        return None


def _credentials() -> dict[str, str]:
    """The header that MLflow sends as well; TrackingError, which does not repeat it, where it can be none."""
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    if name or password:
        return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
    token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
    if token and not TOKEN.fullmatch(token):
        raise TrackingError(
            "MLFLOW_TRACKING_TOKEN has a line break, or another character that no request can hold: correct it."
        )
    return {"Authorization": f"Bearer {token}"} if token else {}
