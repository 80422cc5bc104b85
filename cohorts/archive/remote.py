"""Archives on object storage, such as `s3://bucket/prefix`, through fsspec.

Such a root is a universal-pathlib path. It has the methods of pathlib but is no `pathlib.Path`: by this the functions
of `cohorts.archive.paths` tell the two apart. One listing takes the place of a question per file, tables are read as
streams, and an image is copied to a temporary file while it is decoded.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from cohorts.errors import CohortError
from store.regular_files import open_regular

VERSION_KEYS = ("ETag", "etag", "LastModified", "mtime", "created")  # what storages call the state of an object
MISSING = (FileNotFoundError, IsADirectoryError, PermissionError)  # what is wrong with one file, not with the storage


def is_remote(path: Path) -> bool:
    """Whether a path lies on object storage."""
    return not isinstance(path, Path)


def as_root(location: str) -> Path:
    """The root at an address such as `s3://bucket/prefix`; CohortError where the packages for it are missing."""
    try:
        from upath import UPath

        root: Any = UPath(location.rstrip("/"))
        root.fs  # noqa: B018  opening the file system imports its package
    except ImportError as error:
        raise CohortError(
            f"{location} is on object storage, which needs packages of its own: run pip install '.[remote]' in the "
            "checkout."
        ) from error
    except ValueError:
        root = Path(location)
    if not is_remote(root):
        raise CohortError(f"{location} is no address of a storage that fsspec knows.")
    return root  # type: ignore[no-any-return]


def file_stamps(root: Any, relatives: Sequence[str]) -> list[str]:
    """For each relative path the size and version of the object there, as text; empty where there is none."""
    objects = list_objects(root, common_folder(relatives))
    versions = {path: f"{info['size']}-{_version(info)}" for path, info in objects.items()}
    return [versions.get(path, "") for path in relatives]


def has_stamp(root: Any, relative: str, stamp: str) -> bool:
    """Whether the object is the one that `file_stamps` gave this stamp to."""
    version = stamp.partition("-")[2]
    path = f"{root.path.rstrip('/')}/{relative}"
    with storage_errors(root):
        root.fs.invalidate_cache()  # what a listing said is not asked again
        try:
            info = root.fs.info(path)
        except MISSING:
            return False
    return not version or stamp == f"{info['size']}-{_version(info)}"  # some storages tell no version


def list_objects(root: Any, folder: str) -> dict[str, Mapping[str, Any]]:
    """All objects below a folder of the root, by their path relative to the root."""
    base = root.path.rstrip("/") + "/"
    with storage_errors(root):
        found = root.fs.find(f"{base}{folder}".rstrip("/"), detail=True)
    return {path.removeprefix(base): info for path, info in found.items() if path.startswith(base)}


def common_folder(relatives: Sequence[str]) -> str:
    """The longest folder that holds all of some relative paths; empty for the root."""
    folders = {posixpath.dirname(path) for path in relatives}
    return "" if not folders or "" in folders or any(map(_climbs, folders)) else posixpath.commonpath(folders)


def open_file(path: Path, most: int = -1) -> BinaryIO:
    """A regular file, or the first `most` bytes of an object (-1: all), for reading; OSError where it is none."""
    if not is_remote(path):
        return open_regular(path)
    with storage_errors(path), path.open("rb") as stream:
        return BytesIO(stream.read(most))


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A local file with the content of `path`, itself if it is one; there is none if `path` names no object."""
    if not is_remote(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with storage_errors(path), suppress(*MISSING):
            copy.write_bytes(path.read_bytes())
        yield copy


@contextmanager
def storage_errors(path: Any) -> Iterator[None]:
    """Turn errors of a storage into CohortError, which ends a run: no file may be rejected because of the network.

    Each storage has error classes of its own. Errors of local files are raised unchanged.
    """
    try:
        yield
    except Exception as error:
        if not is_remote(path) or isinstance(error, (CohortError, *MISSING)):
            raise
        raise CohortError(
            f"{path} cannot be fetched ({type(error).__name__}): check the address, the credentials and the network, "
            "then run the same command again."
        ) from error


def _climbs(folder: str) -> bool:
    return folder.startswith("/") or ".." in folder.split("/")


def _version(info: Mapping[str, Any]) -> str:
    value = next((info[key] for key in VERSION_KEYS if key in info), "")
    return str(value.timestamp() if isinstance(value, datetime) else value)  # a listing may give the number alone
