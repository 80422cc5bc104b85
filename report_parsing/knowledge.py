"""What observations look like, in words, and the look-up from any written term to the observation it means.

Exact forms come first (every form of the lexicon), then the nearest form by character trigrams with its score; below
a threshold the answer is that the term is not known. scispacy's own index builder drops most trigrams of a base this
small (its `min_df` is 10) and maps "tortuous thoracic aorta" to "fracture", so only its classes are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from report_parsing.lexicon import observation_forms
from report_parsing.resources import read_cell, read_rows
from report_parsing.tables import KNOWLEDGE
from report_parsing.vocabulary import ENTITIES, POSITIONS

if TYPE_CHECKING:
    from scispacy.linking_utils import KnowledgeBase as ScispacyKnowledgeBase

GROUPS = ("tail_abnorm_obs", "excluded_obs")  # collections of other words: nothing is near to them
POSITION_TEMPLATE = "It is located at {name}"  # MedKLIP, release: the text of a position
THRESHOLD = 0.7  # cosine of trigrams; words of other fields lie below, misspellings and longer phrases above


class Description(NamedTuple):
    """What is known about a name: its kind (entity, position, unseen), description, source and aliases."""

    kind: str
    name: str
    description: str
    source: str
    aliases: tuple[str, ...]


class Match(NamedTuple):
    """The name that a term means, how sure (cosine, 1 for an exact form), and whether the form was exact."""

    name: str
    score: float
    exact: bool


class KnowledgeBase:
    """Descriptions by name and by any of their aliases.

    >>> KnowledgeBase.default().lookup("enlarged heart")
    Match(name='cardiomegaly', score=1.0, exact=True)
    """

    def __init__(self, descriptions: Sequence[Description], threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self._by_name = {item.name: item for item in descriptions}
        self._exact: dict[str, str] = {}
        terms = [item for item in descriptions if item.kind != "position"]
        for item in terms:
            self._exact[_normalised(item.name)] = item.name
        for item in terms:
            for alias in item.aliases:
                self._exact.setdefault(_normalised(alias), item.name)

    @classmethod
    def default(cls) -> KnowledgeBase:
        """The 75 observations and 51 positions of MedKLIP, and the unseen diseases of `data/knowledge.csv`."""
        return cls([*_read_descriptions(), *_position_descriptions()])

    def lookup(self, term: str) -> Match | None:
        """The name a term means; None when nothing known is near enough."""
        wanted = _normalised(term)
        if wanted in self._exact:
            return Match(self._exact[wanted], 1.0, True)
        if not wanted:
            return None
        vectorizer, aliases, matrix = self._index
        scores = (matrix @ vectorizer.transform([wanted]).T).toarray().ravel()
        best = int(scores.argmax())
        score = float(scores[best])
        return Match(self._exact[aliases[best]], score, False) if score >= self.threshold else None

    def describe(self, name: str) -> str:
        """The description of an entity, a position or an unseen disease.

        Raises:
            KeyError: the name is none of them.
        """
        return self._by_name[name].description

    def names(self, kind: str) -> list[str]:
        """The names of a kind: entity, position or unseen."""
        return [item.name for item in self._by_name.values() if item.kind == kind]

    def table(self) -> pa.Table:
        """The `knowledge` table: the observations and the positions in the order of the vocabulary."""
        rows = [self._by_name[name] for name in (*ENTITIES, *POSITIONS)]
        return pa.Table.from_pylist([item._asdict() for item in rows], schema=KNOWLEDGE)

    def as_scispacy(self) -> ScispacyKnowledgeBase:
        """The same base as a scispacy `KnowledgeBase`, for its linkers and candidate tools."""
        from scispacy.linking_utils import Entity
        from scispacy.linking_utils import KnowledgeBase as ScispacyKnowledgeBase

        aliases: dict[str, list[str]] = {}
        for alias, name in self._exact.items():
            aliases.setdefault(name, []).append(alias)
        return ScispacyKnowledgeBase(
            [
                Entity(item.name, item.name, aliases.get(item.name, []), [item.kind], item.description)
                for item in self._by_name.values()
            ]
        )

    @cached_property
    def _index(self) -> tuple[Any, list[str], Any]:
        """The trigram vectorizer, the aliases and their matrix, built at the first inexact look-up."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        aliases = [alias for alias, name in self._exact.items() if name not in GROUPS]
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), min_df=1, sublinear_tf=True)
        return vectorizer, aliases, vectorizer.fit_transform(aliases)


def _read_descriptions() -> list[Description]:
    forms: dict[str, list[str]] = {}
    for entities, form in observation_forms():
        forms.setdefault(entities[0], []).append(form)
    return [
        Description(
            row["kind"],
            row["name"],
            row["description"],
            row["source"],
            (*read_cell(row["aliases"]), *forms.get(row["name"], ())),
        )
        for row in sorted(read_rows("knowledge.csv"), key=lambda row: row["kind"] != "unseen")
    ]


def _position_descriptions() -> list[Description]:
    return [
        Description("position", name, POSITION_TEMPLATE.format(name=name.replace("_", " ")), "MedKLIP template", ())
        for name in POSITIONS
    ]


def _normalised(term: str) -> str:
    return " ".join(term.lower().replace("_", " ").split()).strip(" .,;:")
