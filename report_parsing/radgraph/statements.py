"""Steps A and B of AGXNet: which observation a graph states at which anatomy, in the authors' way and in ours."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain

from report_parsing.radgraph.graph import ANATOMY, LOCATED_AT, MODIFY, Entity, Graph

_ENDS = frozenset({".", "?", "!"})

# An observation at an anatomy, as entities: the anatomy's root and its modifiers (none where no anatomy is named), the
# observation (None where none is located there), and a token of the sentence that says so. A bare tuple, for speed.
Statement = tuple[tuple[str, ...], str | None, int]


class Sentences:
    """The sentences of a tokenised text: each ends with the token `.`, `?` or `!`."""

    def __init__(self, tokens: Sequence[str], decimals: bool) -> None:
        """`decimals`: a full stop between two numbers, as in `2 . 5 cm`, ends nothing."""
        ends = [index for index, token in enumerate(tokens[:-1]) if token in _ENDS]
        if decimals:
            ends = [index for index in ends if not _is_decimal_point(tokens, index)]
        self._tokens = tokens
        self._starts = [0, *[end + 1 for end in ends]]

    def index(self, token: int) -> int:
        """The sentence of a token."""
        return bisect_right(self._starts, token) - 1

    def text(self, sentence: int) -> str:
        """The words of a sentence."""
        end = self._starts[sentence + 1] if sentence + 1 < len(self._starts) else len(self._tokens)
        return " ".join(self._tokens[self._starts[sentence] : end])


def _is_decimal_point(tokens: Sequence[str], index: int) -> bool:
    return tokens[index] == "." and index > 0 and tokens[index - 1].isdigit() and tokens[index + 1].isdigit()


def reference_statements(graph: Graph) -> list[list[Statement]]:
    """The authors' way: sentence by sentence, and within it root by root; one list for each root.

    An anatomy without a relation is a root, its direct modifiers belong to it, and so do the observations located at
    any of them. Observations without a relation are said again for every root of their sentence.
    """
    entities = graph.entities
    sentence_of = Sentences(graph.tokens, decimals=False).index
    sources: dict[str, list[tuple[str, str, int]]] = {}  # target -> (entity, kind of relation, sentence of the entity)
    unrelated: dict[int, tuple[list[str], list[Statement], int]] = {}  # sentence -> roots, observations, a token of it
    for name, (_, label, start, _, relations) in entities.items():
        sentence = sentence_of(start)
        roots, free, _ = unrelated.setdefault(sentence, ([], [], start))
        for kind, target in relations:
            sources.setdefault(target, []).append((name, kind, sentence))
        if not relations:
            if label == ANATOMY:
                roots.append(name)
            else:
                free.append(((), name, start))
    groups: list[list[Statement]] = []
    for sentence, (roots, free, at) in unrelated.items():
        for root in roots:
            anatomy = [root]
            for name, _, place in sources.get(root, ()):
                if place == sentence and entities[name].label == ANATOMY:
                    anatomy.append(name)
            stated: list[Statement] = [
                (tuple(anatomy), name, at)
                for part in anatomy
                for name, kind, place in sources.get(part, ())
                if kind == LOCATED_AT and place == sentence and entities[name].label != ANATOMY
            ]
            groups.append((stated or [(tuple(anatomy), None, at)]) + free)
        if not roots:
            groups.append(free or [((), None, at)])
    return groups


def mended_statements(graph: Graph) -> list[list[Statement]]:
    """Our way, over the whole graph: every observation that is no modifier is stated once at each of its anatomies.

    One list. An anatomy is a root with all that modifies it, directly or not; two observations that modify each other
    both stand.
    """
    entities = graph.entities
    anatomies = _anatomies(entities)
    statements: list[Statement] = []
    for name, (_, label, start, _, relations) in entities.items():
        if label == ANATOMY:
            continue
        places: list[tuple[str, ...]] = []
        modifies = False
        for kind, target in relations:
            if target in anatomies:
                places += [place for place in anatomies[target] if place not in places]
            elif kind == MODIFY and (MODIFY, name) not in entities[target].relations:
                modifies = True
        if places:
            statements += [(place, name, start) for place in places]
        elif not modifies:
            statements.append(((), name, start))
    return [statements]


def _anatomies(entities: dict[str, Entity]) -> dict[str, list[tuple[str, ...]]]:
    """For each anatomy entity the anatomies that it belongs to, each as its root and all that modifies it."""
    names = {name: entity.relations for name, entity in entities.items() if entity.label == ANATOMY}
    modifiers: dict[str, list[str]] = {}
    roots = []
    for name, relations in names.items():
        is_root = True
        for _, target in relations:
            if target in names and target != name:
                modifiers.setdefault(target, []).append(name)
                is_root = False
        if is_root:
            roots.append(name)
    anatomies: dict[str, list[tuple[str, ...]]] = {}
    for root in chain(roots, names):  # then what is left over: anatomies that modify each other in a circle
        if root not in anatomies:
            anatomy = tuple(reach(root, modifiers)) if root in modifiers else (root,)
            for name in anatomy:
                anatomies.setdefault(name, []).append(anatomy)
    return anatomies


def reach(start: str, edges: dict[str, list[str]]) -> list[str]:
    """`start` and all that can be reached from it, each once."""
    found = {start: None}
    waiting = [start]
    while waiting:
        for name in edges.get(waiting.pop(), ()):
            if name not in found:
                found[name] = None
                waiting.append(name)
    return list(found)
