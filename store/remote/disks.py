"""Which disks other machines may share."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
NETWORKED = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "lustre", "gpfs", "beegfs", "ceph", "fuse.ceph-fuse", "glusterfs",
     "fuse.glusterfs", "fuse.sshfs", "fuse.juicefs", "panfs", "orangefs", "wekafs"}
)  # fmt: skip
ESCAPED = re.compile(r"\\([0-7]{3})")  # blanks and the like, in /proc/self/mounts


def network_disk(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of the network file system that a folder lies on, such as nfs4; empty for a disk of this machine."""
    place, longest, kind = folder.resolve(), -1, ""
    for line in mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, point, its_kind, *_ = line.split(" ")
        point = ESCAPED.sub(lambda found: chr(int(found[1], 8)), point)
        if len(point) >= longest and place.is_relative_to(point):  # of several at one place the last one is seen
            longest, kind = len(point), its_kind
    return kind if kind in NETWORKED else ""
