"""Names of pools: several datasets that one network is trained on at once, joined by +."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cohorts.errors import CohortError
from cohorts.registry import has_reports, reader_module

SEPARATOR = "+"


def members_of(name: str) -> list[str]:
    """The datasets that a name stands for, sorted: one, or the members of a pool. They may not exist."""
    return sorted(part.strip() for part in name.split(SEPARATOR))


def names_several(name: str) -> bool:
    """Whether a name joins several, which may not exist."""
    return SEPARATOR in name


def pool_name(members: Sequence[str]) -> str:
    """The name of a pool: the same for the same members, in whichever order."""
    return SEPARATOR.join(sorted(members))


def pools_in(home: Path) -> list[str]:
    """The pools that a home has tables of, sorted."""
    return sorted(path.name for path in home.glob(f"*{SEPARATOR}*") if path.is_dir() and is_pool(path.name))


def is_pool(name: str) -> bool:
    """Whether this is the name of a pool of datasets that there are."""
    try:
        check_name(name)
    except CohortError:
        return False
    return names_several(name) and name == pool_name(members_of(name))


def check_name(name: str) -> None:
    """Raise CohortError where a name is none of a dataset or of a pool of datasets."""
    members = members_of(name)
    for member in members:
        if not member:
            others = " and ".join(filter(None, members)) or "nothing"
            raise CohortError(f"The pool of {others} has an empty name; join the names of datasets by {SEPARATOR}.")
        reader_module(member)
        if members.count(member) > 1:
            raise CohortError(f"The pool {name} names {member} twice; name each dataset once.")
        if len(members) > 1 and not has_reports(member):
            raise CohortError(
                f"{member} has images without reports, from which there is nothing to pretrain; leave it out of the "
                f"pool {name}, and use it to evaluate."
            )
