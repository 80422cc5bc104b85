"""Step C of AGXNet: the words of an observation become one of MedKLIP's 75, by the tables of `radgraph_words.csv`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from report_parsing.resources import read_cell, read_rows
from report_parsing.vocabulary import ENTITIES

Lemmatiser = Callable[[str], str]  # a lower-case word to its lemma

TAIL, EXCLUDED = "tail_abnorm_obs", "excluded_obs"
_NAMED = frozenset(ENTITIES) - {TAIL, EXCLUDED}
_PUNCTUATION = ".,:;-()[]/\"'"


def lemma_of(word: str) -> str:
    """Our own lemmatiser: forms of the words that matter are looked up, others stay as they are.

    >>> lemma_of("opacities"), lemma_of("effusion;"), lemma_of("scoliosis")
    ('opacity', 'effusion', 'scoliosis')
    """
    lemmas = _table("lemma")
    bare = word.strip(_PUNCTUATION)
    return lemmas.get(word) or lemmas.get(bare) or bare or word


def lemmatise(observation: str | None, lemmatiser: Lemmatiser = lemma_of) -> str:
    """Lemmas of the words of an observation, joined by blanks; no observation is `none`, as in the reference."""
    return " ".join(lemmatiser(word) for word in (observation or "none").lower().split())


def merge(lemma: str) -> str:
    """The lemma that stands for several: `opacification` is `opacity`."""
    return _table("merge").get(lemma, lemma)


def reference_group(merged: str) -> str:
    """The column of a merged lemma in the authors' way: anything unknown counts as abnormal."""
    return merged if merged in _NAMED else _table("group").get(merged, TAIL)


def mended_group(lemma: str) -> str:
    """The column of a lemma; several words count by the last one that has a column.

    >>> mended_group("airspace opacity"), mended_group("increase"), mended_group("kyphosis")
    ('opacity', 'excluded_obs', 'tail_abnorm_obs')
    """
    groups = [_mended_part(part) for part in (lemma, *reversed(lemma.split()))]
    return min(groups, key=lambda group: (group == TAIL) * 2 + (group == EXCLUDED))  # the first of the best


def _mended_part(lemma: str) -> str:
    mended, merged = _table("mended"), merge(lemma)
    return mended.get(lemma) or mended.get(merged) or reference_group(merged)


@cache
def _table(step: str) -> dict[str, str]:
    rows = [row for row in read_rows("radgraph_words.csv") if row["step"] == step]
    return {word: row["to"] for row in rows for word in read_cell(row["words"])}
