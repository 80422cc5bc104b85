"""Steps A and B of AGXNet: which observation a graph states at which anatomy, in the authors' way and in ours."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from report_parsing.radgraph.graph import ANATOMY, LOCATED_AT, MODIFY, Graph

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
        if sentence not in unrelated:
            unrelated[sentence] = ([], [], start)
        if relations:
            for kind, target in relations:
                sources.setdefault(target, []).append((name, kind, sentence))
        elif label == ANATOMY:
            unrelated[sentence][0].append(name)
        else:
            unrelated[sentence][1].append(((), name, start))
    groups: list[list[Statement]] = []
    for sentence, (roots, free, at) in unrelated.items():
        for root in roots:
            near = [name for name, _, place in sources.get(root, ()) if place == sentence]
            anatomy = (root, *[name for name in near if entities[name].label == ANATOMY])
            stated: list[Statement] = [
                (anatomy, name, at)
                for part in anatomy
                for name, kind, place in sources.get(part, ())
                if kind == LOCATED_AT and place == sentence and entities[name].label != ANATOMY
            ]
            groups.append((stated or [(anatomy, None, at)]) + free)
        if not roots:
            groups.append(free or [((), None, at)])
    return groups


def mended_statements(graph: Graph) -> list[list[Statement]]:
    """Our way, over the whole graph: every observation that is no modifier is stated once at each of its anatomies.

    One list. An anatomy is a root with all that modifies it, directly or not; two observations that modify each other
    both stand.
    """
    entities = graph.entities
    modifiers: dict[str, list[str]] = {}  # anatomy -> anatomies that point to it
    modified: dict[str, list[str]] = {}  # anatomy -> anatomies that it points to
    for name, (_, label, _, _, relations) in entities.items():
        if relations and label == ANATOMY:
            for _, target in relations:
                if entities[target].label == ANATOMY and target != name:
                    modifiers.setdefault(target, []).append(name)
                    modified.setdefault(name, []).append(target)
    statements: list[Statement] = []
    for name, (_, label, start, _, relations) in entities.items():
        if label == ANATOMY:
            continue
        places: list[tuple[str, ...]] = []
        modifies = False
        for kind, target in relations:
            if entities[target].label == ANATOMY:
                roots = _roots(target, modified) if target in modified else (target,)
                for root in roots:
                    place = tuple(reach(root, modifiers)) if root in modifiers else (root,)
                    if place not in places:
                        places.append(place)
            elif kind == MODIFY and (MODIFY, name) not in entities[target].relations:
                modifies = True
        if places:
            statements.extend([(place, name, start) for place in places])
        elif not modifies:
            statements.append(((), name, start))
    return [statements]


def _roots(anatomy: str, modified: dict[str, list[str]]) -> list[str]:
    """What an anatomy modifies in the end; where anatomies modify each other in a circle, the anatomy itself."""
    return [name for name in reach(anatomy, modified) if name not in modified] or [anatomy]


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
