"""Step D of AGXNet: the words of an anatomy become one of the 51 positions, by the rule list of `positions.py`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from report_parsing.anatomy.positions import (
    BOTH_SIDES_NAMED,
    OTHER,
    SIDES,
    UNSPECIFIED,
    Words,
    match_position,
    positions_of,
)
from report_parsing.resources import read_cell, read_rows

_LEFT_RIGHT: Words = frozenset({"left", "right"})
_BOTH: Words = frozenset({"bilateral", "bilaterally", "both"})
_NO_WORD = ""  # no rule holds it, and it makes any set of words differ from the exact sets


def reference_position(anatomy: str) -> str:
    """Position of `root|modifier|...` in the authors' way: words are as they stand, and exact strings keep their order.

    >>> reference_position("lobe|lower"), reference_position("lower lobe|right")
    ('lung_bases', 'other')
    """
    words = tuple(anatomy.split("|"))
    return match_position(frozenset(words) if words in _exact_strings() else frozenset({*words, _NO_WORD}))


def mended_positions(tokens: Iterable[str]) -> tuple[str, ...]:
    """Positions of the tokens of an anatomy and its modifiers, in any order and case; no tokens, no position known.

    Entities of several words are read word by word. What the rule list then does not know is tried again with
    singulars, and where both sides are named, the answer is both unless the rule list has a name for the two.

    >>> mended_positions(["lower lobe", "Right"]), mended_positions(["lobe", "left", "right", "upper"])
    (('lower_right_lobe',), ('upper_left_lobe', 'upper_right_lobe'))
    >>> mended_positions(["lungs", "both"]), mended_positions(["bases", "both"])
    (('left_lung_unspec', 'right_lung_unspec'), ('lung_bases',))
    """
    words = _join_compounds({word for token in tokens for word in token.lower().split()})
    if not words:
        return (UNSPECIFIED,)
    both = bool(words & _BOTH)
    words -= _BOTH
    found = match_position(words)
    one_of_two = both or (words >= _LEFT_RIGHT and bool(_LEFT_RIGHT & set(found.split("_"))))
    if found in BOTH_SIDES_NAMED or (found != OTHER and not one_of_two):
        return (found,)
    plain = frozenset(_plain_words().get(word, word) for word in words)
    return positions_of(plain - SIDES | {"bilateral"} if both or plain >= _LEFT_RIGHT else plain)


def _join_compounds(words: set[str]) -> Words:
    for compound in _compounds():
        if words.issuperset(compound.split()):
            words = words.difference(compound.split()) | {compound}
    return frozenset(words)


@cache
def _exact_strings() -> frozenset[tuple[str, ...]]:
    """The exact strings of the rule list; where one names both sides, the authors list it with either side first."""
    strings = [read_cell(exact, "+") for row in read_rows("positions.csv") for exact in read_cell(row["exact"])]
    swap = {"left": "right", "right": "left"}
    both = [tuple(swap.get(word, word) for word in words) for words in strings if set(words) >= _LEFT_RIGHT]
    return frozenset([*strings, *both])


@cache
def _compounds() -> tuple[str, ...]:
    """What the rule list takes for one word though it has two, such as `cavoatrial junction`."""
    cells = [row[name] for row in read_rows("positions.csv") for name in ("a", "m1", "m2", "exact")]
    return tuple(
        dict.fromkeys(
            word for cell in cells for part in read_cell(cell) for word in read_cell(part, "+") if " " in word
        )
    )


@cache
def _plain_words() -> dict[str, str]:
    rows = [row for row in read_rows("radgraph_words.csv") if row["step"] == "anatomy"]
    return {word: row["to"] for row in rows for word in read_cell(row["words"])}
