"""A folder of many small files as one file, with the times of the files to the nanosecond."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

from store.digests import fingerprint

TIME = "RADALIGN.mtime_ns"
LISTING = ".listing"
PARTIAL = ".unpacked.partial"


def list_folder(folder: Path) -> str:
    """A digest of the names, sizes and times of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    return fingerprint([[name, state.st_size, state.st_mtime_ns] for name, state in states])


def pack_folder(folder: Path, target: Path) -> None:
    """Write all files of a folder into the file `target`."""

    def keep_time(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.pax_headers = {TIME: str(os.stat(os.path.join(folder, info.name)).st_mtime_ns)}
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, arcname=".", filter=keep_time)


def unpack_folder(packed: Path, folder: Path) -> None:
    """Make a folder that `pack_folder` has packed; it appears whole."""
    partial = folder.with_name(folder.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(packed) as tar:
        tar.extractall(partial, filter="data")
        for info in tar:
            if info.isfile():
                moment = int(info.pax_headers[TIME])
                os.utime(partial / info.name.lstrip("/"), ns=(moment, moment))
    partial.rename(folder)
