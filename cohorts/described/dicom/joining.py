"""Which report belongs to which study of a tree: by accession number, StudyInstanceUID or StudyID.

Several texts with the key of one study are joined in the order of the table, or of the names of their files. Of several
structured reports the last verified one counts or, where none is verified, the last one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cohorts.errors import CohortError

if TYPE_CHECKING:
    import pandas as pd

ACCESSION, STUDY, STUDY_ID = "accession", "study", "study_id"  # columns of `index.HEADERS`
NAMES = {
    ACCESSION: ("accession", "accessionnumber", "accessionno", "acc"),
    STUDY: ("study", "studyinstanceuid", "studyuid"),
    STUDY_ID: ("studyid",),
}
TEXT_SUFFIXES = (".txt", ".text", ".rpt", "")
PARTS = re.compile(r"[0-9A-Za-z.]+")
ADDED = re.compile(r"[A-Za-z.]*\d{0,2}|\d{6}|\d{8}")  # beside a key: a word, a counter, a time, a date
MOST_PARTS = 24  # of the name of a file


def choose_attribute(key: str, by: str) -> str:
    """The column that reports are joined by: that of `by` or, where that is empty, the one that the `key` is called
    after, or the accession number."""
    wanted = re.sub(r"[^a-z]", "", (by or key).lower())
    found = next((column for column, names in NAMES.items() if wanted in names), "")
    if by and not found:
        raise CohortError(f"The description says `report: {{by: {by}}}`; choose {ACCESSION}, {STUDY} or {STUDY_ID}.")
    return found or ACCESSION


def join_files(paths: Iterable[str], rows: pd.DataFrame, attribute: str) -> dict[str, list[str]]:
    """Key -> the text files whose names contain it. `rows` has the identifiers of all studies.

    Beside the key, a name may have words, counters, dates, and other identifiers of the same study.
    """
    owned: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, set[str]] = defaultdict(set)
    for key, *others in rows[[attribute, "patient", ACCESSION, STUDY, STUDY_ID]].drop_duplicates().to_numpy().tolist():
        if key:
            keys["_".join(PARTS.findall(key))].add(key)
            owned[key].update(part for other in others for part in PARTS.findall(other))
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(paths):
        if PurePosixPath(path).suffix.lower() in TEXT_SUFFIXES and (key := _key_in(path, keys, owned)):
            found[key].append(path)
    return dict(found)


def choose_structured(reports: pd.DataFrame, attribute: str) -> dict[str, list[str]]:
    """Key -> the one path of the structured report that counts; `reports` has path, written and `attribute`."""
    last = reports[reports[attribute] != ""].sort_values(["written", "path"]).drop_duplicates(attribute, keep="last")
    return {key: [path] for key, path in zip(last[attribute], last["path"], strict=True)}


def join_texts(keys: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Key -> its texts in order, each once, with a blank line between."""
    joined: dict[str, dict[str, None]] = defaultdict(dict)
    for key, text in zip(keys, texts, strict=True):
        if key.strip() and text.strip():
            joined[key.strip()][text.strip()] = None
    return {key: "\n\n".join(parts) for key, parts in joined.items()}


def _key_in(path: str, keys: Mapping[str, set[str]], owned: Mapping[str, set[str]]) -> str:
    """The one key that the name of a file contains; of several the longest, and none where they are as long."""
    name = PurePosixPath(path).name
    stem = name[: -len(suffix)] if (suffix := PurePosixPath(path).suffix).lower() in TEXT_SUFFIXES[:-1] else name
    parts = [part.strip(".") for part in PARTS.findall(stem)][:MOST_PARTS]
    candidates: set[str] = set()
    for start in range(len(parts)):
        for stop in range(start + 1, len(parts) + 1):
            for key in keys.get("_".join(parts[start:stop]), ()):
                rest = [*parts[:start], *parts[stop:]]
                if all(ADDED.fullmatch(part) or part in owned[key] for part in rest):
                    candidates.add(key)
    longest = [key for key in candidates if len(key) == max(map(len, candidates))]
    return longest[0] if len(longest) == 1 else ""
