"""The graph of one report in RadGraph's form: entities over the tokens of its text, and relations between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ANATOMY = "ANAT-DP"
PRESENT, ABSENT, UNCERTAIN = "OBS-DP", "OBS-DA", "OBS-U"
LABELS = frozenset({ANATOMY, PRESENT, ABSENT, UNCERTAIN})
LOCATED_AT, MODIFY, SUGGESTIVE_OF = "located_at", "modify", "suggestive_of"
RELATIONS = frozenset({LOCATED_AT, MODIFY, SUGGESTIVE_OF})


class Relation(NamedTuple):
    """An edge from the entity that holds it."""

    kind: str  # located_at, modify or suggestive_of
    target: str  # entity id


class Entity(NamedTuple):
    """Some tokens of the text that name an anatomy or an observation."""

    tokens: str  # words joined by blanks
    label: str  # ANAT-DP, OBS-DP, OBS-DA or OBS-U
    start: int  # first token in Graph.tokens
    end: int  # last token, inclusive
    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class Graph:
    """The annotation of one report."""

    text: str  # tokens joined by single blanks, as in the published files
    entities: dict[str, Entity]  # in order of appearance; keys "1", "2", ...
    source: str = ""  # data_source of the file: the cohort
    split: str = ""  # data_split of the file: train, dev, test or inference

    @property
    def tokens(self) -> list[str]:
        """The words that `Entity.start` and `Entity.end` count."""
        return self.text.split(" ")
