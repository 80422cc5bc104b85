"""Graphs by hand and at random."""

from hypothesis import strategies as st

from report_parsing.radgraph.graph import LABELS, RELATIONS, Entity, Graph, Relation


def build(text: str, *specs: str) -> Graph:
    """A graph whose entities 1, 2, ... are given as `token[-token] LABEL [relation:entity ...]`."""
    words, entities = text.split(" "), {}
    for number, spec in enumerate(specs, start=1):
        span, label, *relations = spec.split()
        start, _, end = span.partition("-")
        start, end = int(start), int(end or start)
        pairs = tuple(Relation(*relation.split(":")) for relation in relations)
        entities[str(number)] = Entity(" ".join(words[start : end + 1]), label, start, end, pairs)
    return Graph(text, entities)


@st.composite
def graphs(draw, forwards: bool = False) -> Graph:
    """Any graph; with `forwards`, relations point to later entities only, so that there is no circle."""
    vocabulary = ["left", "Lower", "lobe", "lung", "pleural", "effusion", "opacity", "no", ".", "2", 'é\ud800"\\', ""]
    tokens = draw(st.lists(st.sampled_from(vocabulary), min_size=1, max_size=12))
    count = draw(st.integers(0, 6))
    names = [str(number + 1) for number in range(count)]
    entities = {}
    for number, name in enumerate(names):
        start = draw(st.integers(0, len(tokens) - 1))
        end = draw(st.integers(start, len(tokens) - 1))
        targets = names[number + 1 :] if forwards else names
        relation = st.builds(Relation, st.sampled_from(sorted(RELATIONS)), st.sampled_from(targets or names))
        relations = draw(st.lists(relation, max_size=3)) if targets else []
        label = draw(st.sampled_from(sorted(LABELS)))
        entities[name] = Entity(" ".join(tokens[start : end + 1]), label, start, end, tuple(relations))
    return Graph(
        " ".join(tokens), entities, draw(st.sampled_from(["", "MIMIC-CXR"])), draw(st.sampled_from(["", "dev"]))
    )
