"""RadGraph as a source of triplets: the `triplets` table from graphs or from a file of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, chain
from pathlib import Path

import pyarrow as pa

from report_parsing.radgraph.agxnet import Agxnet
from report_parsing.radgraph.files import Labeler, Reject, read_graphs, study_of
from report_parsing.radgraph.graph import ABSENT, PRESENT, UNCERTAIN, Graph
from report_parsing.tables import TRIPLETS

_EXISTS = {PRESENT: "present", ABSENT: "absent", UNCERTAIN: "uncertain"}


def triplets_of_file(
    path: Path, labeler: Labeler = "labeler_1", agxnet: Agxnet | None = None
) -> tuple[pa.Table, list[Reject]]:
    """The `triplets` table of a RadGraph file, and the reports of it that cannot be used.

    Raises:
        GraphFileError: the file cannot be read or is not a RadGraph file.
    """
    rejects: list[Reject] = []
    return triplets_table(read_graphs(path, rejects, labeler), agxnet), rejects


def triplets_table(graphs: Iterable[tuple[str, Graph]], agxnet: Agxnet | None = None) -> pa.Table:
    """The `triplets` table of (key, graph) pairs, each triplet once.

    `sentence`, `start` and `end` count in `Graph.text`, the tokenised text of the file, not in the report itself:
    RadGraph's text is not the text that it was made from.
    """
    agxnet = agxnet or Agxnet()
    rows: dict[str, list[object]] = {name: [] for name in TRIPLETS.names}
    for key, graph in graphs:
        study = study_of(key).study
        for found in dict.fromkeys(_triplets(graph, agxnet)):
            for column, value in zip(rows.values(), (study, *found), strict=True):
                column.append(value)
    return pa.Table.from_pydict(rows, schema=TRIPLETS)


def _triplets(graph: Graph, agxnet: Agxnet) -> Iterator[tuple[int, str, str, str, int, int]]:
    """(sentence, entity, position, exists, start, end) in the order of the observations."""
    entities = graph.entities
    tokens = graph.tokens
    starts = [0, *accumulate(len(token) + 1 for token in tokens)]
    sentences = agxnet.sentences(graph)
    for parts, observation, _ in chain.from_iterable(agxnet.statements(graph)):
        if observation is None:
            continue
        found = entities[observation]
        sentence = sentences.index(found.start)
        evidence = [found, *[entities[part] for part in parts]]
        evidence = [entity for entity in evidence if sentences.index(entity.start) == sentence]
        start, end = min(entity.start for entity in evidence), max(entity.end for entity in evidence)
        anatomy = tuple(entities[part].tokens for part in parts)
        for position in agxnet.positions(anatomy):
            yield (
                sentence,
                agxnet.group(found.tokens),
                position,
                _EXISTS[found.label],
                starts[start],
                starts[end + 1] - 1,
            )
