"""Errors that a user can mend. The error classes of all rooms derive from `UserError`.

Of a mistyped name, the message says which known name is probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

FULL = re.compile(r"no space left|disk is full|disk full|quota exceeded|file too large", re.IGNORECASE)
READ_ONLY = re.compile(r"read-?only (file system|database)", re.IGNORECASE)


class UserError(Exception):
    """Something that a user can mend. The message is one sentence: what is wrong, where, and what to do."""


class BusyError(UserError):
    """Another process holds what is wanted."""


class DamageError(UserError):
    """A file of the home is not what was written. It was set aside, and the message says how it is made again."""


class SettingError(UserError, ValueError):
    """A setting has a value that it cannot have."""


def sentence_of(error: BaseException) -> str | None:
    """What a user is told of an error that a user can mend; None where the fault is ours.

    Beside `UserError` these are files that cannot be used, and a disk that is full or must not be written to, which
    every library reports as an error of its own.
    """
    if isinstance(error, UserError):
        return str(error)
    for one in with_causes(error):
        if FULL.search(str(one)):
            return f"There is no room left to write{_file(one)}: make room and give the same command again."
        if READ_ONLY.search(str(one)):
            return f"The disk is read-only, so nothing can be written{_file(one)}: choose another home (RADALIGN_HOME)."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror}."
    return None


def _file(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return f" ({name})" if name else ""


def with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it was raised from or during, the last one first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`; empty where none is like it."""
    by_form = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), list(by_form), n=1, cutoff=0.6)
    longer = [form for form in by_form if len(name) > 2 and form.startswith(name.lower())]
    return next((by_form[form] for form in (*found, *longer)), "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean x?)` for a mistyped name; empty where no known name is like it."""
    found = nearest(name, known)
    return f" (did you mean `{found}`?)" if found else ""
