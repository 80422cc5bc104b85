"""Recognises published datasets by the signatures that their readers declare.

A mark tells at which folders, as roots of an archive, a file with its name and content lies. A dataset is there where
all marks of one of its editions meet. Where only some do, it may be there in part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from cohorts.registry import cohort_names, signature

if TYPE_CHECKING:
    from cohorts.archive.marks import Edition, Mark
    from ingestion.inspection.listing import Listing

MOST_TRIES = 3  # files of one mark and root whose content is looked at
GZIP = ".gz"


@dataclass(frozen=True)
class Candidate:
    """A dataset that seems to lie in a folder."""

    name: str
    roots: tuple[str, ...]  # folders that its reader may take for its root, relative, the outermost first
    found: frozenset[Mark]
    needed: frozenset[Mark]

    @property
    def is_whole(self) -> bool:
        """Whether every mark of the edition is there."""
        return self.found == self.needed


def recognise(listing: Listing) -> list[Candidate]:
    """The datasets that lie in a folder, those that are whole first. A dataset may lie there in several places."""
    cache: dict[Mark, frozenset[str]] = {}
    candidates = [
        candidate
        for name in cohort_names()
        for candidate in _best_of(name, [_read_edition(edition, listing, cache) for edition in signature(name)])
    ]
    kept = [one for one in candidates if one.is_whole or not any(_explains(other, one) for other in candidates)]
    return sorted(kept, key=lambda one: (not one.is_whole, one.roots[0], one.name))


def is_below(folder: str, root: str) -> bool:
    """Whether a relative folder is `root` or lies in it."""
    return root == "" or folder == root or folder.startswith(f"{root}/")


def _read_edition(
    edition: Edition, listing: Listing, cache: dict[Mark, frozenset[str]]
) -> tuple[frozenset[Mark], dict[str, frozenset[Mark]]]:
    """The marks of an edition, and those that were found by root."""
    found: dict[str, set[Mark]] = defaultdict(set)
    for mark in edition:
        if mark not in cache:
            cache[mark] = frozenset(_roots_of(mark, listing))
        for root in cache[mark]:
            found[root].add(mark)
    return frozenset(edition), {root: frozenset(marks) for root, marks in found.items()}


def _best_of(name: str, editions: Sequence[tuple[frozenset[Mark], dict[str, frozenset[Mark]]]]) -> Iterator[Candidate]:
    """For each place the edition of which most is there. Roots that hold each other are one place."""
    every = [
        (root, found, needed) for needed, by_root in editions for root, found in by_root.items() if found and needed
    ]
    every.sort(key=lambda one: (one[1] != one[2], -len(one[1]), one[0].count("/"), one[0]))
    while every:
        root, found, needed = every[0]
        roots = [other for other, marks, whole in every if (marks, whole) == (found, needed) and _overlap(other, root)]
        outermost = min(roots, key=len)
        yield Candidate(name, tuple(sorted((one for one in roots if _overlap(one, outermost)), key=len)), found, needed)
        every = [one for one in every if not any(_overlap(one[0], taken) for taken in roots)]


def _overlap(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)


def _explains(other: Candidate, one: Candidate) -> bool:
    """Whether the marks of a part of a dataset belong to another dataset, of which they say more."""
    return (
        other.name != one.name
        and one.found <= other.found
        and (len(other.found), -len(other.needed)) > (len(one.found), -len(one.needed))
        and _overlap(one.roots[0], other.roots[0])
    )


def _roots_of(mark: Mark, listing: Listing) -> Iterator[str]:
    """The folders from which a file of the mark has one of its paths."""
    tries: dict[str, int] = defaultdict(int)
    fitting: set[str] = set()
    for pattern in mark.paths:
        for root, path in _hits(pattern, listing):
            if root in fitting or tries[root] == MOST_TRIES:
                continue
            tries[root] += 1
            if mark.fits(listing.root / path):
                fitting.add(root)
                yield root


def _hits(pattern: str, listing: Listing) -> Iterator[tuple[str, str]]:
    """Roots at which a path has the pattern, and the path relative to the listing."""
    *above, last = pattern.split("/")
    ending = last[last.rfind("*") + 1 :]
    endings = (ending, ending + GZIP)
    for folder, names in listing.names.items():
        root = _strip(folder, above)
        if root is None:
            continue
        for name in names:
            if name.endswith(endings) and (fnmatchcase(name, last) or fnmatchcase(name, last + GZIP)):
                yield root, f"{folder}/{name}" if folder else name


def _strip(folder: str, patterns: Sequence[str]) -> str | None:
    """A folder without its last parts, which have to match the patterns; None where they do not."""
    parts = folder.split("/") if folder else []
    kept = len(parts) - len(patterns)
    if kept < 0 or not all(map(fnmatchcase, parts[kept:], patterns)):
        return None
    return "/".join(parts[:kept])
