"""Slips of the pen: a letter too many, missing or wrong, or two neighbours swapped."""

from __future__ import annotations


def count_slips(first: str, second: str) -> int:
    """Letters inserted, left out, replaced or swapped with a neighbour, at least, to turn one word into the other.

    Optimal string alignment, a column of its table per machine word: Hyyrö, "A bit-vector algorithm for computing
    Levenshtein and Damerau edit distances", Nordic Journal of Computing 10 (2003).
    """
    first, second = _without_common_ends(first, second)
    if not first or not second:
        return len(first) + len(second)
    whole = (1 << len(first)) - 1
    places: dict[str, int] = {}
    for index, letter in enumerate(first):
        places[letter] = places.get(letter, 0) | 1 << index
    rises, falls, diagonal, last_place = whole, 0, 0, 0
    slips, bottom = len(first), 1 << (len(first) - 1)
    for letter in second:
        place = places.get(letter, 0)
        swapped = ((~diagonal & place) << 1) & last_place
        diagonal = ((((place & rises) + rises) ^ rises) | place | falls | swapped) & whole
        right = falls | (~(diagonal | rises) & whole)
        left = diagonal & rises
        slips += bool(right & bottom) - bool(left & bottom)
        right = right << 1 | 1
        rises = (left << 1 | ~(diagonal | right)) & whole
        falls = right & diagonal
        last_place = place
    return slips


def _without_common_ends(first: str, second: str) -> tuple[str, str]:
    longest = min(len(first), len(second))
    start = next((index for index in range(longest) if first[index] != second[index]), longest)
    longest -= start
    end = next((index for index in range(longest) if first[-1 - index] != second[-1 - index]), longest)
    return first[start : len(first) - end], second[start : len(second) - end]


def one_less(word: str) -> list[str]:
    """A word, and the word without one of its letters: words that are one slip apart share one of these."""
    return [word, *(word[:index] + word[index + 1 :] for index in range(len(word)))]
