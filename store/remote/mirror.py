"""Local mirrors of homes on object storage, as the rest of the code sees them.

All code works on paths. Where a path lies in the mirror of a remote home, these functions pass what happens to it on to
the keeper of that home (`store.remote.home`); for all other paths they do nothing. The keeper is loaded by name, when
it is first needed: how bytes come here decides no result, as each is compared with its digest, so that a change of the
keeper makes nothing stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from store.errors import UserError

if TYPE_CHECKING:
    from store.remote.home import RemoteHome
    from store.remote.ranged import RangedFile

HOME_VARIABLE = "RADALIGN_HOME"
VARIABLE = "RADALIGN_MIRROR"  # folder of the mirror of RADALIGN_HOME
KNOWN = "RADALIGN_MIRRORS"  # mirrors of this process and its parents, as JSON: folder -> address
REMOTE = "://"

Log = Callable[[str], object]
_keepers: dict[tuple[int, str, str], RemoteHome] = {}  # by process, as connections are not shared with a fork


def is_address(location: str) -> bool:
    """Whether a home is named by the address of a store, such as s3://bucket/prefix."""
    return REMOTE in location


def mirror_of(address: str) -> Path:
    """The folder where a remote home is mirrored: RADALIGN_MIRROR, or one in the user's cache. Nothing is fetched."""
    address = address.rstrip("/")
    given = os.environ.get(VARIABLE, "")
    if given and address == os.environ.get(HOME_VARIABLE, "").rstrip("/"):
        folder = Path(given).absolute()
    else:
        cache = _cache_of_user()
        readable = re.sub(r"[^a-z0-9]+", "-", address.partition(REMOTE)[2].rpartition("@")[2].lower()).strip("-")
        digest = hashlib.sha256(address.encode()).hexdigest()[:8]
        folder = (cache / "radalign" / f"{readable}-{digest}").absolute()
    known = _known(os.environ.get(KNOWN, ""))
    if known.get(str(folder)) != address:
        os.environ[KNOWN] = json.dumps({**known, str(folder): address})
    return folder


def _cache_of_user() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user id without a name, as containers have
        raise UserError(
            "A home on object storage needs a folder on this machine, and this user has none of its own: set "
            f"{VARIABLE} to an empty folder."
        ) from None


def local_path(place: str) -> str:
    """Where a file or a folder of RADALIGN_HOME lies on this machine, if `place` is its address; else `place`."""
    home = os.environ.get(HOME_VARIABLE, "").rstrip("/")
    if not is_address(place) or not is_address(home) or not f"{place}/".startswith(f"{home}/"):
        return place
    return str(mirror_of(home) / place.removeprefix(home).strip("/"))


def address_of(path: Path) -> str:
    """What every machine can find a path of a remote home by, with `local_path`; of other paths the path itself."""
    keeper = keeper_of(path)
    return f"{keeper.address_name}/{os.path.relpath(os.path.abspath(path), keeper.mirror)}" if keeper else str(path)


def name_of(home: Path) -> str:
    """What people call a home: its address where it is remote, else its folder."""
    keeper = keeper_of(home)
    return keeper.address_name if keeper else str(home)


def keeper_of(path: Path) -> RemoteHome | None:
    """The keeper of the remote home in whose mirror a path lies; None for all other paths."""
    given = os.environ.get(HOME_VARIABLE, "")
    if REMOTE in given:
        mirror_of(given)
    known = _known(os.environ.get(KNOWN, ""))
    if not known:
        return None
    place = os.path.abspath(path) + os.sep
    for folder, address in known.items():
        if place.startswith(folder + os.sep):
            key = (os.getpid(), folder, address)
            if key not in _keepers:
                made = cast(Any, import_module(".home", __package__)).RemoteHome(address, Path(folder))
                _keepers.setdefault(key, made)
            return _keepers[key]
    return None


def refresh(home: Path) -> None:
    """Make sure that the store of a home can be used, and bring what was published since into the mirror.

    StoreError says in one sentence why it cannot.
    """
    if keeper := keeper_of(home):
        keeper.refresh()


def bring(*paths: Path) -> None:
    """Bring the small files of the scopes that these paths lie in, such as the folder of a run, into the mirror."""
    for path in paths:
        if keeper := keeper_of(path):
            keeper.fetching.bring(path)


def bring_below(folder: Path) -> None:
    """Bring the small files of all scopes in a folder, such as all versions of a dataset, into the mirror."""
    if keeper := keeper_of(folder):
        keeper.fetching.bring_below(folder)


def bring_whole(folder: Path) -> None:
    """Bring all files of a folder into the mirror."""
    if keeper := keeper_of(folder):
        keeper.fetching.bring_whole(folder)


def fetch(path: Path) -> bool:
    """Bring a file, and what its seal covers, into the mirror; whether it is there now."""
    keeper = keeper_of(path)
    return keeper.fetching.fetch(path) if keeper else path.is_file()


def open_ranged(path: Path) -> RangedFile | None:
    """A file of the store, to be read by ranges; None where the store has none, and for all other paths."""
    keeper = keeper_of(path)
    return keeper.ranges.open(path) if keeper else None


def read_ranged(wanted: Mapping[Path, Iterable[tuple[int, memoryview]]]) -> Path | None:
    """Of files of one store fill buffers with the bytes from their offsets on; returns a file that it does not have."""
    keeper = keeper_of(next(iter(wanted)))
    return keeper.ranges.read(wanted) if keeper else next(iter(wanted))


def size_of(path: Path) -> int:
    """Bytes of a file that is in the store and not in the mirror; 0 where it is in neither."""
    keeper = keeper_of(path)
    found = keeper.fetching.locate(path) if keeper else None
    return found.record.size if found else 0


def published_digest(path: Path) -> str | None:
    """SHA-256 of a file of the store; None where the store has none, and for all other paths."""
    keeper = keeper_of(path)
    found = keeper.fetching.locate(path) if keeper else None
    return found.record.sha256 if found else None


def is_kept(path: Path) -> bool:
    """Whether the store has a file, be it in the mirror or not."""
    keeper = keeper_of(path)
    return keeper.fetching.is_kept(path) if keeper else False


def seal_text(path: Path) -> str | None:
    """What the seal of a file says that is in the store and not in the mirror; None where there is none."""
    keeper = keeper_of(path)
    return keeper.fetching.seal_text(path) if keeper else None


def rows_of(path: Path) -> int | None:
    """Rows of a batch, or of what it rejected, that is in the store and not in the mirror; None for all others."""
    keeper = None if path.exists() else keeper_of(path)
    return keeper.fetching.rows_of(path) if keeper else None


def look_for_batches(folder: Path) -> None:
    """Look which batches of a stage are complete by now, wherever they were made."""
    if keeper := keeper_of(folder):
        keeper.fetching.look_for_batches(folder)


def learn_batches(outputs: list[Path]) -> None:
    """Learn how many rows some batches have that are in the store and not in the mirror."""
    if outputs and (keeper := keeper_of(outputs[0])):
        keeper.fetching.learn_batches([path for path in outputs if not path.exists()])


def keep_batches(outputs: list[Path]) -> None:
    """Publish those of some complete batches that are in the mirror alone."""
    if outputs and (keeper := keeper_of(outputs[0])):
        keeper.publishing.keep_batches(outputs)


def note(path: Path) -> None:
    """Remember that a file was written; it is published with the next one that is sealed beside it."""
    if keeper := keeper_of(path):
        keeper.note(path)


def publishing(path: Path) -> AbstractContextManager[None]:
    """Publish what the block writes in the scope of `path`, at once and when it ends well."""
    keeper = keeper_of(path)
    return keeper.publishing.publishing(path) if keeper else nullcontext()


def publish(*paths: Path, gone: tuple[Path, ...] = ()) -> None:
    """Publish files, links, or whole folders, all of one scope, and forget those that are `gone`."""
    if keeper := keeper_of((*paths, *gone)[0]):
        keeper.publishing.publish(paths, gone)


def forget(*paths: Path) -> None:
    """Forget files and folders that were removed for good, batches and whole versions among them."""
    for path in paths:
        if keeper := keeper_of(path):
            keeper.publishing.forget(path)


def flush(home: Path) -> None:
    """Publish what was noted and not published yet."""
    if keeper := keeper_of(home):
        keeper.publishing.flush_all()


def batches_in(folder: Path) -> set[str]:
    """Fingerprints of the batches of a stage that the store has; none where there is no store."""
    keeper = keeper_of(folder)
    return keeper.fetching.look_for_batches(folder) if keeper else set()


def sweep(home: Path, dry_run: bool) -> tuple[int, int]:
    """Remove the objects of a remote home that nothing names any more, or only find them; their number and bytes."""
    keeper = keeper_of(home)
    return keeper.sweep(dry_run) if keeper else (0, 0)


def pack(folder: Path) -> None:
    """Publish a folder of many small files as one file."""
    if keeper := keeper_of(folder):
        keeper.pack(folder)


def unpack(folder: Path) -> None:
    """Make a folder again that somebody has packed, unless it is there."""
    if not folder.exists() and (keeper := keeper_of(folder)):
        keeper.unpack(folder)


def lock_name(path: Path) -> str | None:
    """What a lock is called that a lease stands for; None where it is one of this machine."""
    keeper = keeper_of(path)
    return keeper.lock_name(path) if keeper else None


@contextmanager
def leasing(path: Path, busy: str, log: Log, patience: float) -> Iterator[str]:
    """Hold the lease of a lock for the time of the block, and wait for it as long; yields its name with its token."""
    keeper = keeper_of(path)
    assert keeper is not None
    with keeper.leasing(path, busy, log, patience) as name:
        yield name


@lru_cache(maxsize=8)
def _known(text: str) -> dict[str, str]:
    """Mirrors by their folders."""
    return dict(json.loads(text)) if text else {}
