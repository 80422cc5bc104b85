"""Words of an anatomic location are put together from side, zone and structure; the rule list names its position."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple

from report_parsing.resources import read_cell, read_rows

Words = frozenset[str]

SIDES: Words = frozenset({"left", "right", "bilateral"})
ZONES: Words = frozenset({"upper", "lower", "mid", "middle", "base"})
# structures that any location in the lung may join: "pulmonary nodule in the right upper lobe"
GENERAL: Words = frozenset({"lung", "pulmonary", "parenchymal", "interstitial"})
_LOBE: Words = frozenset({"lobe"})
_UPPER_LOBE: Words = frozenset({"lobe", "upper"})  # of either side, as the lower lobes without a side are the bases
OF_LUNG: Words = GENERAL | {"lobe", "base", "apical", "hilar", "retrocardiac", "pleural", "costophrenic"}
UNSPECIFIED, OTHER = "unspecified", "other"
BOTH_SIDES_NAMED = frozenset({"lung_bases", "lung_apices"})  # positions that stand for both sides


@lru_cache(maxsize=4096)
def positions_of(words: Words) -> tuple[str, ...]:
    """Positions of a composed location; a bilateral one without a name of its own gives its left and its right."""
    if not words - _LOBE:
        return (UNSPECIFIED,)  # "lobar consolidation" is in one of five
    if words - SIDES == _LOBE or words == _UPPER_LOBE:
        words = words - _LOBE | {"lung"}
    if not words & SIDES and "lung" in words:
        words = words - {"lung"} | {"lungs"}
    if match_position(words - SIDES) != OTHER and _sides_unknown(words):
        words = words - SIDES  # "low lung volumes on both sides"
    if "bilateral" not in words:
        return (match_position(words),)
    both = match_position(words)
    if both in BOTH_SIDES_NAMED:
        return (both,)
    rest = words - SIDES
    return tuple(dict.fromkeys(match_position(rest | {side}) for side in ("left", "right")))


def _sides_unknown(words: Words) -> bool:
    """Whether no position tells the sides of this structure apart."""
    rest = words - SIDES
    return all(match_position(rest | {side}) == OTHER for side in ("left", "right"))


def match_position(words: Words) -> str:
    """The first rule of `data/positions.csv` that matches a set of anatomy words."""
    return next((rule.position for rule in _rules() if _matches(words, rule)), OTHER)


class _Rule(NamedTuple):
    position: str
    a: Words
    m1: Words
    m2: Words
    exact: frozenset[Words]
    conditions: tuple[str, ...]  # of "m1+m2-": "m1+", "m2-"


@cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            row["position"],
            frozenset(read_cell(row["a"])),
            frozenset(read_cell(row["m1"])),
            frozenset(read_cell(row["m2"])),
            frozenset(frozenset(read_cell(exact, "+")) for exact in read_cell(row["exact"])),
            tuple(re.findall(r"m[12][+-]", row["type"])),
        )
        for row in read_rows("positions.csv")
    )


def _matches(words: Words, rule: _Rule) -> bool:
    if words in rule.exact:
        return True
    if not words & rule.a:
        return False
    modifiers = {"m1": rule.m1, "m2": rule.m2}
    return all(bool(words & modifiers[item[:2]]) is (item[2] == "+") for item in rule.conditions)


@lru_cache(maxsize=4096)
def join_conjuncts(conjuncts: tuple[Words, ...]) -> tuple[Words, ...]:
    """Complete the members of "right upper and lower lobes": structure comes from the right, side from the left."""
    completed: list[Words] = []
    following: Words = frozenset()
    for words in reversed([words for words in conjuncts if words]):
        if not has_structure(words):
            missing = following - SIDES - (ZONES if words & ZONES else frozenset())
            words = words | missing
        completed.append(words)
        following = words
    sides: Words = frozenset()
    for index, words in enumerate(reversed(completed)):
        sides = words & SIDES or sides
        completed[len(completed) - 1 - index] = words | sides
    return tuple(dict.fromkeys(reversed(completed)))


def has_structure(words: Words) -> bool:
    """Whether the words name a structure, not only a side or a zone."""
    return bool(words - SIDES - ZONES)


def is_complete(words: Words) -> bool:
    """Whether nothing is left to ask: the words name a side and a structure narrower than the lung."""
    return bool(words & SIDES) and bool(words - SIDES - GENERAL)


def merge(first: Iterable[Words], second: Iterable[Words]) -> tuple[Words, ...]:
    """Every location of `first` narrowed by those of `second` that do not contradict it.

    A mere side gives way: the tip of a left subclavian line may lie in the right atrium. Both sides do not give way to
    a part of one lung: "bilateral opacities, worst in the right upper lobe".
    """
    second = tuple(second)
    merged: list[Words] = []
    for words in first:
        narrowed = [words | more for more in second if _agree(words, more)]
        if not narrowed and not has_structure(words) and not _holds(words, second):
            narrowed = [more for more in second if has_structure(more)]
        merged.extend(narrowed or [words])
    return tuple(dict.fromkeys(merged))


def _holds(words: Words, places: tuple[Words, ...]) -> bool:
    """Whether the words say both sides, and the places are parts of one lung."""
    sides = frozenset[str]().union(*(place & SIDES for place in places))
    return "bilateral" in words and len(sides) == 1 and all(place & OF_LUNG for place in places)


def _agree(first: Words, second: Words) -> bool:
    sides = first & SIDES, second & SIDES
    if all(sides) and sides[0] != sides[1]:
        return False
    strong = [words - SIDES - ZONES - GENERAL for words in (first, second)]
    return not (strong[0] and strong[1] and strong[0] != strong[1])
