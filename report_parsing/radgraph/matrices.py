"""Steps E and F of AGXNet: a matrix per study, and MedKLIP's label per observation."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np

from report_parsing.radgraph.agxnet import Agxnet
from report_parsing.radgraph.graph import ABSENT, PRESENT, UNCERTAIN, Graph
from report_parsing.vocabulary import ENTITIES, POSITIONS

_COLUMN = {name: column for column, name in enumerate(ENTITIES)}
_OFFSET = {name: row * len(ENTITIES) for row, name in enumerate(POSITIONS)}
_CELLS = len(POSITIONS) * len(ENTITIES)


class Matrices(NamedTuple):
    """What a set of studies says."""

    keys: list[str]  # of the reports
    cells: np.ndarray  # int8 (studies, 51 positions, 75 observations): 1 present, 0 absent, -1 not mentioned


def matrices(graphs: Iterable[tuple[str, Graph]], agxnet: Agxnet | None = None) -> Matrices:
    """The matrices of (key, graph) pairs, 3,825 bytes each; present wins over absent. Time grows with their number.

    It says the same as the rows of `Agxnet.rows`, without making them.
    """
    agxnet = agxnet or Agxnet()
    columns = cache(lambda tokens: _COLUMN[agxnet.group(tokens)])
    offsets = cache(lambda tokens: [_OFFSET[position] for position in agxnet.positions(tokens)])
    keys: list[str] = []
    said = {PRESENT: array("q"), ABSENT: array("q"), UNCERTAIN: array("q")}
    for key, graph in graphs:
        entities = graph.entities
        found = agxnet.statements(graph)
        if agxnet.options.reference and not found:
            continue  # the reference makes its list of studies from the rows
        start = len(keys) * _CELLS
        keys.append(key)
        for statements in found:
            for anatomy, observation, _ in statements:
                if observation is not None:
                    tokens, label, _, _, _ = entities[observation]
                    column = start + columns(tokens)
                    for offset in offsets(tuple([entities[name].tokens for name in anatomy])):
                        said[label].append(column + offset)
    cells = np.full(len(keys) * _CELLS, -1, np.int8)
    cells[np.frombuffer(said[ABSENT], np.int64)] = 0
    cells[np.frombuffer(said[PRESENT], np.int64)] = 1
    return Matrices(keys, cells.reshape(len(keys), len(POSITIONS), len(ENTITIES)))


def existence_labels(cells: np.ndarray) -> np.ndarray:
    """(studies, positions, observations) -> (studies, observations): 1 present anywhere, else 0 ruled out, else -1."""
    return cells.max(axis=1)
