"""From RadGraph to the labels that MedKLIP is trained on: the AGXNet derivation, as its authors run it, and corrected.

| what                                   | reference                            | mended, the default                 |
|----------------------------------------|--------------------------------------|-------------------------------------|
| modifiers of an anatomy                | those attached to the root itself    | all, over any number of steps       |
| anatomy of several words               | one word, so `lower lobe` is `other` | word by word, in any case and order |
| both sides named, or `bilateral`       | `other`, or the left position alone  | the left and the right position     |
| plural unknown to the rules: `hila`    | `other`                              | as its singular                     |
| anatomy related only to observations   | lost, with what is located there     | a root like any other               |
| anatomy without observation            | a row without one, lemma `none`      | no row                              |
| observation without relation           | a row for each root of its sentence  | one row, `unspecified`              |
| observation that only suggests another | lost                                 | kept, `unspecified`                 |
| anatomy two steps or a sentence away   | the observation is lost              | the observation is located there    |
| modifiers of an observation            | direct and present ones              | all, over any number of steps       |
| `increase`                             | `enlarge`                            | `excluded_obs`, as `decrease` is    |
| "cannot be assessed"                   | `tail_abnorm_obs`                    | `excluded_obs`                      |
| several words: `airspace opacity`      | `tail_abnorm_obs`                    | their last word that has a column   |
| other unknown lemmas                   | `tail_abnorm_obs`                    | same, but `midline` is `normal`     |
| `infection`                            | `pneumonia`                          | same: the usual reading of an image |
| uncertain observations                 | -1 in the matrix                     | same; `uncertain` as triplets       |
| present and absent in one cell         | present, whatever comes first        | same                                |
| order of rows                          | changes from run to run              | order of the file                   |
| study without entities                 | vanishes                             | keeps a matrix of -1                |
| sentences                              | re-tokenised: indices shift (*)      | tokens of the file; `2 . 5` holds   |

(*) NLTK's tokenizer is not reproduced: the reference option counts the tokens of the file too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from report_parsing.anatomy.positions import UNSPECIFIED
from report_parsing.radgraph import anatomies, observations
from report_parsing.radgraph.files import study_of
from report_parsing.radgraph.graph import MODIFY, PRESENT, SUGGESTIVE_OF, Graph
from report_parsing.radgraph.observations import Lemmatiser
from report_parsing.radgraph.statements import Sentences, Statement, mended_statements, reach, reference_statements

_REMEMBERED = 50_000  # anatomies and observations; reports say the same ones over and over


@dataclass(frozen=True)
class AgxnetOptions:
    """How graphs are read; see the table above."""

    reference: bool = False  # follow the authors' code, with its faults
    lemmatise: Lemmatiser = observations.lemma_of  # a lower-case word to its lemma; the authors use spaCy


class ItemRow(NamedTuple):
    """Step A: an entity and one of its relations."""

    source: str
    token: str
    token_ix: int
    label: str
    relation: str | None
    target: str | None
    sentence_ix: int
    sentence: str
    subject_id: str
    study_id: str


class ParsedRow(NamedTuple):
    """Steps B to D: an observation at an anatomy, and what the two are called in the matrix."""

    study_id: str
    sentence_ix: int
    sentence: str
    anatomy: str  # root|modifier|..., or unspecified
    observation: str | None
    label: str | None
    modifiers: str | None  # joined by |
    suggestive: str | None  # observations that suggest this one, joined by |
    lemma: str
    merged: str  # lemma after step C's mergers
    group: str  # one of MedKLIP's 75 observations
    positions: tuple[str, ...]  # of its 51 positions; the reference knows one


class Agxnet:
    """The derivation under one set of options; it remembers anatomies and observations that it has met."""

    def __init__(self, options: AgxnetOptions | None = None) -> None:
        self.options = options or AgxnetOptions()
        self.positions = lru_cache(_REMEMBERED)(self._positions)
        self.group = lru_cache(_REMEMBERED)(self._group)

    def statements(self, graph: Graph) -> list[list[Statement]]:
        """What a graph says; within an inner list, rows that come out equal are one."""
        return reference_statements(graph) if self.options.reference else mended_statements(graph)

    def itemise(self, graphs: Iterable[tuple[str, Graph]]) -> Iterator[ItemRow]:
        """The table of step A for (key, graph) pairs."""
        for key, graph in graphs:
            subject, study = study_of(key)
            sentences = self.sentences(graph)
            for name, (tokens, label, start, _, relations) in graph.entities.items():
                sentence = sentences.index(start)
                for relation in relations or (None,):
                    kind, target = relation or (None, None)
                    place = (sentence, sentences.text(sentence), subject, study)
                    yield ItemRow(name, tokens, start, label, kind, target, *place)

    def rows(self, graphs: Iterable[tuple[str, Graph]]) -> Iterator[ParsedRow]:
        """The table of steps B to D for (key, graph) pairs."""
        for key, graph in graphs:
            context = _Context(study_of(key).study, graph, self.sentences(graph))
            for statements in self.statements(graph):
                yield from dict.fromkeys(self._row(context, statement) for statement in statements)

    def sentences(self, graph: Graph) -> Sentences:
        """The sentences of a graph's text."""
        return Sentences(graph.tokens, decimals=not self.options.reference)

    def _row(self, context: _Context, statement: Statement) -> ParsedRow:
        entities, sentences = context.graph.entities, context.sentences
        parts, name, at = statement
        sentence = sentences.index(at)
        anatomy = tuple(entities[part].tokens for part in parts)
        observation = entities[name] if name is not None else None
        lemma = observations.lemmatise(observation and observation.tokens, self.options.lemmatise)
        return ParsedRow(
            context.study,
            sentence,
            sentences.text(sentence),
            "|".join(anatomy).lower() or UNSPECIFIED,
            observation and observation.tokens.lower(),
            observation and observation.label,
            self._sources(MODIFY, name, sentence, context),
            self._sources(SUGGESTIVE_OF, name, sentence, context),
            lemma,
            observations.merge(lemma),
            self.group(observation and observation.tokens),
            self.positions(anatomy),
        )

    def _sources(self, kind: str, observation: str | None, sentence: int, context: _Context) -> str | None:
        """Tokens of what modifies or suggests an observation, joined by |."""
        if observation is None:
            return None
        entities, edges = context.graph.entities, context.edges[kind]
        if self.options.reference:
            found = [entities[name] for name in edges.get(observation, ())]
            found = [one for one in found if one.label == PRESENT and context.sentences.index(one.start) == sentence]
        else:
            found = [entities[name] for name in reach(observation, edges)[1:]]
            found.sort(key=lambda entity: entity.start)
        return "|".join(entity.tokens.lower() for entity in found) or None

    def _positions(self, anatomy: tuple[str, ...]) -> tuple[str, ...]:
        """Positions of the tokens of an anatomy: its root, then its modifiers; none: unspecified."""
        if self.options.reference:
            return (anatomies.reference_position("|".join(anatomy).lower() or UNSPECIFIED),)
        return anatomies.mended_positions(anatomy)

    def _group(self, tokens: str | None) -> str:
        """Which of the 75 observations the tokens of an observation are."""
        lemma = observations.lemmatise(tokens, self.options.lemmatise)
        if self.options.reference:
            return observations.reference_group(observations.merge(lemma))
        return observations.mended_group(lemma)


class _Context:
    """A graph while its rows are made."""

    def __init__(self, study: str, graph: Graph, sentences: Sentences) -> None:
        self.study = study
        self.graph = graph
        self.sentences = sentences
        self.edges: dict[str, dict[str, list[str]]] = {MODIFY: {}, SUGGESTIVE_OF: {}}  # kind -> target -> sources
        for name, entity in graph.entities.items():
            for kind, target in entity.relations:
                if kind in self.edges:
                    self.edges[kind].setdefault(target, []).append(name)
