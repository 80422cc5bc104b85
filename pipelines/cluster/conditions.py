"""What a worker on another machine has to have in common with the run that it works for.

The run writes a token into its home and sends the conditions to each worker as an environment variable. The worker
compares before it opens anything: a worker without the home would otherwise make a home of its own.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ingestion.versions import PINS
from pipelines.cluster.errors import WorkerError
from pipelines.cluster.handovers import FOLDER
from store.atomic import write_text
from store.code import ROOMS, ROOT, code_version
from store.home import VARIABLE, default_home, home_at
from store.remote.mirror import KNOWN, keeper_of, name_of
from store.remote.mirror import VARIABLE as MIRROR
from tracking.places.postgres import ANSWERED, HISTORY_VARIABLE, Database

CONDITIONS = "RADALIGN_WORKER"  # in the environment of a worker
TOKEN = "worker-token"  # in the folder of the run, in the home
# Their versions decide what is read from an image or a report, and the bytes of a table.
PACKAGES = (
    "dagster",
    "numpy",
    "pandas",
    "pyarrow",
    "pydicom",
    "pillow",
    "opencv-python-headless",
    "imagecodecs",
    "spacy",
)
NOT_SENT = (CONDITIONS, MIRROR, KNOWN, ANSWERED)  # belong to one machine
SECRET = re.compile(r"://[^/@\s]*:[^@\s]+@|password=", re.IGNORECASE)  # an address with a password


@dataclass(frozen=True)
class Conditions:
    """Of a run."""

    home: str  # where its tables are: a folder, or the address of a bucket
    run: str
    token: str
    code: str
    python: str
    packages: Mapping[str, str]
    database: str  # of the history, without its password; empty: SQLite in the home

    def to_json(self) -> str:
        """As the environment of a worker holds it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Conditions:
        """The conditions that `to_json` wrote; WorkerError for others, which other code may have written."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise WorkerError(
                f"The worker on {socket.gethostname()} does not understand what the run has sent ({CONDITIONS}): bring "
                f"its checkout ({ROOT}) to the same commit."
            ) from None


def state_conditions(home: Path, run: str) -> Conditions:
    """The conditions of the run `run`, whose token is written into the home."""
    token = secrets.token_hex(16)
    if keeper := keeper_of(home):
        keeper.objects.put(f"{FOLDER}/{run}/{TOKEN}", token.encode())
    else:
        path = home / PINS / run / TOKEN
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, token)
    return Conditions(name_of(home), run, token, code_of_all(), python_version(), package_versions(), database())


def expect_conditions(wanted: Conditions) -> None:
    """Raise WorkerError, which names this machine, where it differs from the run."""
    here = socket.gethostname()
    if code_of_all() != wanted.code:
        raise WorkerError(
            f"The worker on {here} has other code than the run ({ROOT}): bring its checkout to the same commit."
        )
    if python_version() != wanted.python:
        raise WorkerError(
            f"The worker on {here} has Python {python_version()}, and the run has Python {wanted.python}: start the "
            "worker in an environment of the same Python."
        )
    found = package_versions()
    if other := [name for name in sorted({*found, *wanted.packages}) if found.get(name) != wanted.packages.get(name)]:
        name = other[0]
        raise WorkerError(
            f"The worker on {here} has {name} {found.get(name, 'not at all')}, and the run has "
            f"{wanted.packages.get(name, 'none')}: run `make setup` there."
        )
    if _read_token(wanted) != wanted.token:
        raise WorkerError(
            f"The worker on {here} does not see the home {wanted.home} of the run: mount the shared folder there at "
            "the same path, or use a home on object storage, with its keys in the environment of the worker."
        )
    if database() != wanted.database:
        raise WorkerError(
            f"The worker on {here} has the history {database() or 'in the home'}, and the run has "
            f"{wanted.database or 'the one in the home'}: set {HISTORY_VARIABLE} in the environment in which workers "
            "are started to what the run has."
        )


def _read_token(wanted: Conditions) -> str:
    """What the home says here; empty where there is no such run in it."""
    home = home_at(wanted.home)
    if keeper := keeper_of(home):
        found = keeper.objects.get(f"{FOLDER}/{wanted.run}/{TOKEN}")
        return found.body.decode() if found else ""
    try:
        return (home / PINS / wanted.run / TOKEN).read_text(encoding="utf-8")
    except OSError:
        return ""


def sent_environment() -> dict[str, str]:
    """Variables of this process that a worker gets: our own, without passwords and what belongs to one machine."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("RADALIGN_") and name not in NOT_SENT and not SECRET.search(value)
    }
    return found if "://" in found.get(VARIABLE, "") else {**found, VARIABLE: str(default_home())}


def code_of_all() -> str:
    """The version of all code of the project."""
    files = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return code_version(*sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files))


def python_version() -> str:
    """Such as 3.11."""
    return ".".join(platform.python_version_tuple()[:2])


def package_versions() -> dict[str, str]:
    """Name -> version of the packages that decide what is computed, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def database() -> str:
    """The database of the history, without its password; empty where it is SQLite in the home."""
    address = os.environ.get(HISTORY_VARIABLE, "")
    return str(Database.of(address, HISTORY_VARIABLE)) if address else ""
