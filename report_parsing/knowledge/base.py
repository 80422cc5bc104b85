"""Descriptions of observations, and the look-up from a written term to the observation that it means.

A term that differs from an alias only in case, blanks, hyphens, plural or British spelling is found exactly. Otherwise
the nearest alias is taken, with its score. Below a threshold the term counts as unknown.

Zero-shot evaluation of something the network was never trained on goes through `query`:

    base = KnowledgeBase.default(extra=Path("own.csv"))        # a user's own descriptions are optional
    scores = method.zero_shot(images, [base.query("COVID-19")])

`query` gives the name of one of the 75 observations, for which the network has a learned query. For any other finding
it gives the description, which MedKLIP encodes as a further query.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from report_parsing.knowledge.descriptions import ENTITY, Description, read_own, read_shipped
from report_parsing.knowledge.term_index import Candidate, TermIndex
from report_parsing.lexicon.slots import read_forms
from report_parsing.resources import read_cell, read_rows
from report_parsing.tables import KNOWLEDGE
from report_parsing.vocabulary import ENTITIES, POSITIONS
from store.errors import UserError

POSITION_TEMPLATE = "It is located at {name}"  # MedKLIP, release: the text of a position
_REMOVED = "xxxx"  # what Open-i writes for a removed name; a form of the lexicon may hold it, no alias does
_DENIALS = frozenset({"no", "not", "without", "absence", "absent", "negative"})  # whose opposite a name would mean
_SENTENCE = 5  # words from which on a text is read as a sentence; a shorter one is a name, and all of it counts
_LONGEST = 6  # words of a name that a text may hold
THRESHOLD = 0.75  # calibrated by benchmarks/entity_lookup.py: misspellings lie above, terms of other fields below


class Match(NamedTuple):
    """The name that a term means, how sure (1 for an exact form), and whether the form was exact."""

    name: str
    score: float
    exact: bool


class UnknownTermError(UserError, ValueError):
    """A term is unknown. The message is one sentence with the nearest known term."""


class KnowledgeBase:
    """Descriptions by name and by any of their aliases.

    >>> KnowledgeBase.default().lookup("enlarged heart")
    Match(name='cardiomegaly', score=1.0, exact=True)

    Args:
        descriptions: what is known; no two of them share a name.
        forms: further (form, name), used where no name and no alias is the same. The name is empty for what looks like
            an observation and is none.
        threshold: the least score of an inexact match.
        version: of the file that the descriptions are from.
    """

    def __init__(
        self,
        descriptions: Sequence[Description],
        forms: Iterable[tuple[str, str]] = (),
        threshold: float = THRESHOLD,
        version: str = "",
    ) -> None:
        self.threshold = threshold
        self.descriptions = list(descriptions)
        self._declared = version
        self._by_name = {item.name: item for item in descriptions}
        self._forms = list(forms)

    @classmethod
    def default(cls, extra: Path | None = None) -> KnowledgeBase:
        """MedKLIP's 75 observations and 51 positions, the unseen diseases of `data/knowledge.csv`, and a user's own.

        Args:
            extra: a CSV file of the user's descriptions, see `report_parsing.knowledge.descriptions`.

        Raises:
            DescriptionError: `extra` cannot be used, in one sentence.
        """
        version, shipped = read_shipped()
        base = cls([*shipped, *_position_descriptions()], _forms(), version=version)
        return base if extra is None else base.with_descriptions(extra)

    def with_descriptions(self, path: Path) -> KnowledgeBase:
        """This base and the descriptions of a user's CSV file; their names take precedence over our aliases.

        Those of kind `entity` take the place of ours of the same name.

        Raises:
            DescriptionError: the file cannot be used, in one sentence.
        """
        own = read_own(path, self.descriptions)
        instead = {item.name: item for item in own if item.kind == ENTITY}
        shipped = [instead.get(item.name, item) for item in self.descriptions]
        added = [item for item in own if item.kind != ENTITY]
        return KnowledgeBase([*shipped, *added], self._forms, self.threshold, self._declared)

    @cached_property
    def _index(self) -> TermIndex:
        """Made when a term is first asked for: most bases only write their table, and it takes longer than that."""
        findings = [item for item in self.descriptions if item.kind != "position"]
        names = [(item.name, item.name) for item in findings]
        aliases = [(alias, item.name) for item in findings for alias in item.aliases]
        return TermIndex([*names, *aliases, *self._forms])

    @property
    def version(self) -> str:
        """The version that the file declares and a digest of all descriptions, a user's included."""
        content = json.dumps(self.descriptions, ensure_ascii=False)
        return f"{self._declared}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def lookup(self, term: str) -> Match | None:
        """The name a term means; None when nothing known is near enough, or when the term denies something."""
        found = self._index.exact(term)
        if found is not None:
            return Match(found.name, found.score, True) if found.name else None
        if _denies(term):
            return None
        nearest = next(iter(self._index.nearest(term)), None)
        if nearest is None or not nearest.name or nearest.score < self.threshold:
            return None
        return Match(nearest.name, nearest.score, False)

    def nearest(self, term: str, count: int = 5) -> list[Candidate]:
        """The names that are nearest to a term, each with its nearest alias and score, the nearest first."""
        return [candidate for candidate in self._index.nearest(term) if candidate.name][:count]

    def doubt(self, text: str) -> str:
        """A sentence on why a text is no finding to ask for; "" where it means one, or is a sentence that names one."""
        if self.lookup(text) is not None or (self._mentions(text) and not _denies(text)):
            return ""
        if _denies(text):
            return f"`{text}` says that something is absent: ask for the finding itself, whose score is then low."
        near = ", ".join(candidate.name for candidate in self.nearest(text, 3))
        return f"`{text}` names no finding that is known here{f'; nearest: {near}' if near else ''}."

    def _mentions(self, text: str) -> bool:
        words = text.split()
        if len(words) < _SENTENCE:
            return False
        ends = [(start, end) for start in range(len(words)) for end in range(start + 1, start + _LONGEST + 1)]
        found = (self._index.exact(" ".join(words[start:end])) for start, end in ends)
        return any(one is not None and one.name for one in found)

    def query(self, term: str, described: bool = False) -> str:
        """The words for a term in a zero-shot method: an observation's name, or another finding's description.

        With `described` it is the description of either.

        Raises:
            UnknownTermError: the term means nothing known; the sentence names what is nearest and what to do.
        """
        match = self.lookup(term)
        if match is None:
            raise UnknownTermError(self.explain(term))
        found = self._by_name[match.name]
        return found.name if found.kind == "entity" and not described else found.description

    def explain(self, term: str) -> str:
        """A sentence for a user: what a term means here, or what is nearest to it and how to add it."""
        match = self.lookup(term)
        if match is not None:
            return f"`{term}` means `{match.name}` ({'exact' if match.exact else f'score {match.score:.2f}'})."
        if _denies(term):
            return self.doubt(term)
        near = ", ".join(f"{item.name} ({item.score:.2f})" for item in self.nearest(term, 3)) or "nothing"
        return (
            f"`{term}` is not known; nearest: {near}, where {self.threshold:.2f} is needed. "
            "Describe it in a CSV file (kind,name,aliases,description,source) and give its path as `descriptions`."
        )

    def describe(self, name: str) -> str:
        """The description of an entity, a position or an unseen disease.

        Raises:
            KeyError: the name is none of them.
        """
        return self._by_name[name].description

    def names(self, kind: str) -> list[str]:
        """The names of a kind: entity, position or unseen."""
        return [item.name for item in self.descriptions if item.kind == kind]

    def aliases(self, name: str) -> list[str]:
        """Every form by which the look-up finds a name exactly."""
        return self._index.aliases_of(name)

    def table(self) -> pa.Table:
        """The `knowledge` table: the observations and the positions in the order of the vocabulary."""
        return self._rows((*ENTITIES, *POSITIONS))

    def unseen_table(self) -> pa.Table:
        """The findings beside the vocabulary: the columns of the `knowledge` table, aliases, the version."""
        names = self.names("unseen")
        aliases = pa.array([self._by_name[name].aliases for name in names], pa.list_(pa.string()))
        metadata = {**KNOWLEDGE.metadata, b"table": b"unseen", b"descriptions": self.version.encode()}
        return self._rows(names).append_column("aliases", aliases).replace_schema_metadata(metadata)

    def _rows(self, names: Iterable[str]) -> pa.Table:
        rows = [self._by_name[name]._asdict() for name in names]
        return pa.Table.from_pylist(rows, schema=KNOWLEDGE)


def _denies(term: str) -> bool:
    return not _DENIALS.isdisjoint(term.casefold().split())


def _forms() -> list[tuple[str, str]]:
    """Terms that look like an observation but are none, and the forms of the lexicon with their first observation."""
    others = [(term, "") for row in read_rows("not_observations.csv") for term in read_cell(row["terms"])]
    for row in read_rows("observations.csv"):
        if row["role"] == "state" and row["place"]:
            continue  # "large" is an observation beside the name of a structure only
        name = "" if row["entities"] == "-" else read_cell(row["entities"])[0]
        others += [(form, name) for form in read_forms(row["forms"]) if _REMOVED not in form]
    return others


def _position_descriptions() -> list[Description]:
    return [
        Description("position", name, POSITION_TEMPLATE.format(name=name.replace("_", " ")), "MedKLIP template", ())
        for name in POSITIONS
    ]
