"""What happens to an archive while a run reads it: it goes away, is empty, or loses a file, and is back afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path


@contextmanager
def renamed(archive: Path) -> Iterator[None]:
    """The archive has another name."""
    away = archive.with_name(f"{archive.name}.away")
    archive.rename(away)
    try:
        yield
    finally:
        away.rename(archive)


@contextmanager
def unmounted(archive: Path) -> Iterator[None]:
    """An empty folder is in the place of the archive."""
    with renamed(archive):
        archive.mkdir()
        try:
            yield
        finally:
            archive.rmdir()


@contextmanager
def without_images(archive: Path) -> Iterator[None]:
    """The folder with the images of an archive in the layout of MIMIC-CXR is empty."""
    with unmounted(archive / "files"):
        yield


@contextmanager
def without_last_image(archive: Path) -> Iterator[None]:
    """One image is gone, which the last batch reads."""
    with renamed(sorted(archive.rglob("*.dcm"))[-1]):
        yield


@contextmanager
def half_copied_image(archive: Path) -> Iterator[None]:
    """Half of the last image is there, as where somebody copies it anew."""
    path = sorted(archive.rglob("*.dcm"))[-1]
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        yield
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def changed_reports(archive: Path) -> Iterator[None]:
    """Every report is empty."""
    reports = {path: (path.stat(), path.read_bytes()) for path in archive.rglob("*.txt")}
    for path in reports:
        path.write_bytes(b"")
    try:
        yield
    finally:
        for path, (before, content) in reports.items():
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


OUTAGES: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "renamed": renamed,
    "unmounted": unmounted,
    "without images": without_images,
    "without its last image": without_last_image,
    "an image half copied": half_copied_image,
    "reports emptied": changed_reports,
}
