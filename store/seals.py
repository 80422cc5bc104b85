"""Seals: a file that decides a number has its digest beside it, so that damage is noticed before the file is used.

The seal of `NAME` is `NAME.sha256`, in the format of sha256sum. It may cover companions, which are further files of the
folder. A file without a seal counts as not written. While a file is replaced, its seal has the digests of the old and
the new file: a process that is killed then leaves one of the two.

There are two questions. `is_intact` is for planning and is quick: a file that was not touched since it was sealed is
not read. `expect_intact` is for reading a file for a number: its bytes are compared with the seal, once per process.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.atomic import replacing
from store.digests import file_digest, known_digest
from store.errors import DamageError
from store.remote import mirror

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = ".sha256"
DAMAGED = ".damaged"
LINE = re.compile(r"([0-9a-f]{64})  ([^/]+)")


Digests = dict[str, tuple[str, ...]]  # by the name of a file; of two, either is right


@contextmanager
def sealing(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to, as `replacing` does, and seal the file when the block ends well."""
    with mirror.publishing(path):
        with replacing(path) as partial:
            yield partial
            digest = file_digest(partial)
            _write_seal(path, {path.name: (digest, *_read_seal(path).get(path.name, ())[:1])})
        _write_seal(path, {path.name: (digest,)})


def write_sealed_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically, and seal the file."""
    with sealing(path) as partial:
        partial.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_sealed_table(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet, atomically, and seal the file."""
    import pyarrow.parquet as pq

    with sealing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def seal(path: Path, *companions: Path) -> str:
    """Seal a file as it is, and its companions with it; returns the digest of the file."""
    with mirror.publishing(path):
        digests = {each.name: file_digest(each) for each in (path, *companions)}
        _write_seal(path, {name: (digest,) for name, digest in digests.items()})
    return digests[path.name]


def seal_path(path: Path) -> Path:
    """Where the seal of a file lies."""
    return path.with_name(path.name + SEAL)


def sealed_digest(path: Path) -> str | None:
    """The digest of a file that is intact, from its seal; None where it is not."""
    if not is_intact(path):
        return None
    digests = _read_seal(path)[path.name]
    return digests[0] if len(digests) == 1 else known_digest(path)


def is_sealed(path: Path) -> bool:
    """Whether a file has a seal, intact or not; without one it counts as not written."""
    return path.name in _read_seal(path)


def is_intact(path: Path) -> bool:
    """Whether a file and its companions are there as they were sealed, in the mirror of a remote home or in its store.

    A file that was touched after its seal is read, others are not.
    """
    if not path.is_file() and mirror.is_kept(path):
        return True
    digests = _read_seal(path)
    if path.name not in digests:
        return False
    paths = {path.with_name(name): known for name, known in digests.items()}
    if not all(each.is_file() for each in paths):
        return False
    sealed = seal_path(path).stat().st_ctime_ns
    touched = [each for each in paths if each.stat().st_ctime_ns >= sealed]  # clocks of disks tick every few ms
    if not all(_is_as_sealed(path, each, paths[each]) for each in touched):
        return False
    if touched:
        with suppress(OSError):  # in a home that may only be read, they are read each time
            os.utime(seal_path(path))  # the next time they need not be read
    return True


def expect_intact(path: Path, remedy: str, keep: bool = False) -> Path:
    """`path`, whose bytes, and those of its companions, are those that were sealed. A remote home's file is fetched.

    Raises:
        DamageError: they are not. The file is set aside, unless `keep`. The message ends with `remedy`: how it is made
            again.
    """
    mirror.fetch(path)
    digests = _read_seal(path)
    if not path.is_file():
        raise DamageError(f"{path} is missing; {remedy}")
    if path.name not in digests:
        raise DamageError(f"{path} has no {SEAL} file with its digest, so it is not used; {remedy}")
    for name, known in digests.items():
        each = path.with_name(name)
        if not each.is_file():
            raise DamageError(f"{each} is missing; {remedy}")
        if not _is_as_sealed(path, each, known):
            where = "" if keep else f" and is set aside as {set_aside(each).name}"
            if not keep:
                unseal(path)
            raise DamageError(f"{each} was changed after it was written{where}; {remedy}")
    return path


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `NAME.damaged`, where no reader looks, and remove its seal; returns the new name.

    Of a symbolic link, the file that it leads to is renamed.
    """
    path = Path(os.path.realpath(path))
    aside = path.with_name(path.name + DAMAGED)
    if path.exists():
        os.replace(path, aside)
    unseal(path)
    return aside


def unseal(path: Path) -> None:
    """Remove the seal of a file, which then counts as not written."""
    Path(os.path.realpath(seal_path(path))).unlink(missing_ok=True)


def unlink(path: Path) -> None:
    """Remove a file and its seal, for good."""
    unseal(path)
    path.unlink(missing_ok=True)
    mirror.forget(path, seal_path(path))


def _is_as_sealed(path: Path, each: Path, known: tuple[str, ...]) -> bool:
    """Whether a file has one of the digests that its seal had. A writer may have replaced both: it is read anew."""
    digest = known_digest(each)
    return digest in known or digest in _read_seal(path).get(each.name, ())


def _read_seal(path: Path) -> Digests:
    """The digests of a file and its companions; empty where there is no seal that can be read."""
    try:
        text = seal_path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        text = mirror.seal_text(path) or ""
    except (OSError, ValueError):
        return {}
    lines = [LINE.fullmatch(line) for line in text.splitlines()]
    found: Digests = {}
    for line in lines:
        if line is None:
            return {}
        found[line[2]] = (*found.get(line[2], ()), line[1])
    return found if text.endswith("\n") else {}


def _write_seal(path: Path, digests: Digests) -> None:
    lines = [f"{digest}  {name}\n" for name, known in digests.items() for digest in known]
    with replacing(seal_path(path)) as partial:
        partial.write_text("".join(lines), encoding="utf-8")
