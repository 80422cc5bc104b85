"""The 14 labels of CheXpert from the triplets of a report: positive, negative, uncertain or blank.

Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels" (2019), section 3: a label that any
sentence affirms is positive, else one that any doubts is uncertain, else one that any denies is negative, else blank.
"No Finding" is positive when nothing but support devices is affirmed or doubted, and blank otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from functools import cache
from typing import NamedTuple

import pyarrow as pa

from report_parsing.resources import read_cell, read_rows
from report_parsing.tables import Triplet
from report_parsing.vocabulary import (
    CHEXPERT_14,
    NEGATIVE,
    NO_FINDING,
    NORMAL_ENTITIES,
    POSITIONS,
    POSITIVE,
    SUPPORT_DEVICES,
    UNCERTAIN,
)

REPORT_LABELS = pa.schema(
    [pa.field("study_id", pa.string(), nullable=False), *(pa.field(label, pa.float32()) for label in CHEXPERT_14)],
    metadata={"table": "report_labels", "version": "1"},
)
_VALUES = {"present": POSITIVE, "uncertain": UNCERTAIN, "absent": NEGATIVE}
_STRENGTH = {POSITIVE: 3, UNCERTAIN: 2, NEGATIVE: 1}
_FINDINGS = tuple(label for label in CHEXPERT_14 if label not in (NO_FINDING, SUPPORT_DEVICES))
# what may be said of an image without findings
_NO_FINDINGS = frozenset({*NORMAL_ENTITIES, "expand", "aerate", "excluded_obs", "finding", "process", "abnormality"})


class _Rule(NamedTuple):
    label: str
    positions: frozenset[str]
    unless_with: frozenset[str]
    value: float | None  # of a stated observation, where it is not positive


class _Statement(NamedTuple):
    """What a triplet makes a label; indirect where it does not name the finding ("normal" of the mediastinum)."""

    triplet: Triplet
    value: float
    is_indirect: bool


def label_report(triplets: Iterable[Triplet]) -> dict[str, float | None]:
    """CheXpert label -> 1 (positive), 0 (negative), -1 (uncertain) or None (blank), of one report's triplets."""
    triplets = list(triplets)
    labels: dict[str, float | None] = dict.fromkeys(CHEXPERT_14)
    for label, found in _statements(triplets).items():
        said = {statement.value for statement in found if not _yields(statement, found)}
        if said:
            labels[label] = max(said, key=lambda value: _STRENGTH[value])
    normal = {(triplet.start, triplet.end) for triplet in triplets if triplet.entity == "normal"}
    has_findings = any(_is_finding(item) for item in triplets if item.entity != "borderline" or item[3:] not in normal)
    if not has_findings and not any(labels[label] in (POSITIVE, UNCERTAIN) for label in _FINDINGS):
        labels[NO_FINDING] = POSITIVE
    return labels


def label_table(study_ids: pa.ChunkedArray, triplets: pa.Table) -> pa.Table:
    """The `report_labels` table: a row for every study, also for those that have no triplet."""
    by_study: dict[str, list[Triplet]] = {study_id: [] for study_id in study_ids.to_pylist()}
    columns = (triplets[name].to_pylist() for name in ("study_id", *Triplet._fields))
    for study_id, *values in zip(*columns, strict=True):
        by_study[study_id].append(Triplet(*values))
    rows = [{"study_id": study_id, **label_report(found)} for study_id, found in by_study.items()]
    return pa.Table.from_pylist(rows, schema=REPORT_LABELS)


def supporting(triplets: Iterable[Triplet]) -> Mapping[str, list[Triplet]]:
    """CheXpert label -> the triplets that name its finding, whatever they say of it."""
    return {
        label: named
        for label, found in _statements(triplets).items()
        if (named := [statement.triplet for statement in found if not statement.is_indirect])
    }


def _statements(triplets: Iterable[Triplet]) -> dict[str, list[_Statement]]:
    triplets = list(triplets)
    said_with: dict[tuple[int, int], set[str]] = {}
    for triplet in triplets:
        said_with.setdefault((triplet.start, triplet.end), set()).add(triplet.entity)
    found: dict[str, list[_Statement]] = {}
    for triplet in triplets:
        for rule in _rules().get(triplet.entity, ()):
            if triplet.position in rule.positions and not rule.unless_with & said_with[triplet.start, triplet.end]:
                if rule.value is None:
                    found.setdefault(rule.label, []).append(_Statement(triplet, _VALUES[triplet.exists], False))
                elif triplet.exists == "present":
                    found.setdefault(rule.label, []).append(_Statement(triplet, rule.value, True))
    return found


def _yields(statement: _Statement, others: Iterable[_Statement]) -> bool:
    """Whether "stable" is said of a silhouette of which the same words say more: "stable and normal"."""
    if not statement.is_indirect or statement.value != UNCERTAIN:
        return False
    start, end = statement.triplet.start, statement.triplet.end
    return any(
        other.triplet.start < end and start < other.triplet.end and not (other.is_indirect and other.value == UNCERTAIN)
        for other in others
    )


def _is_finding(triplet: Triplet) -> bool:
    if triplet.exists == "absent" or triplet.entity in _NO_FINDINGS:
        return False
    return not any(rule.label == SUPPORT_DEVICES for rule in _rules().get(triplet.entity, ()))


@cache
def _rules() -> dict[str, list[_Rule]]:
    """Observation -> the rules that read it."""
    rules: dict[str, list[_Rule]] = {}
    for row in read_rows("chexpert.csv"):
        allowed, barred = read_cell(row["at"]) or ("*",), read_cell(row["unless_at"])
        positions = frozenset(
            position
            for position in POSITIONS
            if any(fnmatch(position, pattern) for pattern in allowed)
            and not any(fnmatch(position, pattern) for pattern in barred)
        )
        for entity in read_cell(row["entities"]):
            rules.setdefault(entity, []).append(
                _Rule(row["label"], positions, frozenset(read_cell(row["unless_with"])), _value(row["value"]))
            )
    return rules


def _value(cell: str) -> float | None:
    return float(cell) if cell else None
