"""Names of metrics as MLflow takes them. Labels of datasets are a part of such names and may hold anything."""

from __future__ import annotations

import hashlib
import re

LONGEST = 250  # characters
FOREIGN = re.compile(r"[^\w.\- :]")
DIGEST_LENGTH = 8


def metric_name(name: str) -> str:
    """A name that MLflow takes, the same whenever it is asked for. A name that MLflow takes anyway stays what it is.

    Where characters are replaced or cut off, a digest of the whole name follows, so that two names never become one.
    """
    plain = "/".join(_plain(part) for part in name.split("/"))
    if plain == name and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    return f"{plain[: LONGEST - DIGEST_LENGTH - 1]}-{digest}"


def _plain(part: str) -> str:
    """A part of a name between slashes. MLflow takes none that means a folder: an empty one, one dot or two."""
    return FOREIGN.sub("_", part) if part.strip(".") else "_"
