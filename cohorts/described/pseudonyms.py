"""Names that take the place of identifiers: keyed digests, so that nobody without the key of the home finds them again.

The key is `<home>/key`. It is made once. With another key every patient, study and image has another name, and every
patient is drawn anew into a split, so the key belongs into the backup of the home.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from threading import Lock

from store.errors import DamageError
from store.locks import holding
from store.seals import expect_intact, sealing

NAME = "key"
KEY_BYTES = 32
LENGTH = 16  # hexadecimal digits of a pseudonym: of a million, two are alike once in forty million homes
MOST_DAYS = 3650  # that a date is moved by
MODE = 0o600  # nobody else may read the key
_MAKING = Lock()  # among the threads of a process; among processes a file is
REMEDY = f"put the copies of {NAME} and {NAME}.sha256 back, because with another key all identifiers become others."
NAMED = "archive/inventory"  # in the home: what is there has names by the key


def read_key(home: Path) -> bytes:
    """The key of a home, which is made where there is none yet.

    Raises:
        DamageError: the key is not what was written, or is gone and studies have names by it.
    """
    path = home / NAME
    if not path.exists():
        with _MAKING, holding(home / f"{NAME}.lock", "makes the key of the home"):
            if not path.exists():
                _expect_unused(home)
                _write(path)
    return bytes.fromhex(expect_intact(path, REMEDY, keep=True).read_text(encoding="ascii"))


def pseudonym(key: bytes, kind: str, *parts: str) -> str:
    """A name of LENGTH hexadecimal digits for the thing of a `kind` (patient, study, image) that `parts` identify."""
    return _digest(key, kind, *parts).hex()[:LENGTH]


def days_of(key: bytes, patient: str) -> int:
    """By how many days the dates of a patient are moved back, 1 to MOST_DAYS; all intervals of a patient stay."""
    return 1 + int.from_bytes(_digest(key, "days", patient)[:8], "big") % MOST_DAYS


def _expect_unused(home: Path) -> None:
    """DamageError where studies of the home have names by a key that is gone."""
    if any((home / NAMED).glob("*.parquet")):
        raise DamageError(
            f"{home / NAME} is gone, and the studies in {(home / NAMED).parent} are named by it; {REMEDY} Without a "
            f"copy, move {(home / NAMED).parent} away, and all that was computed from it is computed anew."
        )


def _digest(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 of parts, each behind its length, so that ("ab", "c") and ("a", "bc") differ."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return hmac.digest(key, b"".join(len(part).to_bytes(8, "big") + part for part in encoded), "sha256")


def _write(path: Path) -> None:
    with sealing(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES))
