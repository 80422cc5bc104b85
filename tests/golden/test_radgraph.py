"""Our derivation from RadGraph, set to the authors' code, gives the tables and matrices of the authors' code."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from report_parsing.radgraph.agxnet import Agxnet, AgxnetOptions
from report_parsing.radgraph.anatomies import reference_position
from report_parsing.radgraph.files import read_graphs, study_of
from report_parsing.radgraph.matrices import existence_labels, matrices
from report_parsing.radgraph.observations import merge, reference_group
from report_parsing.radgraph.triplets import triplets_table
from report_parsing.vocabulary import ENTITIES, POSITIONS
from tests.golden.conftest import golden_files, load

REPORTS = golden_files("radgraph_reports*.json")


def sibling(path: Path, name: str, suffix: str) -> Path:
    return path.with_name(path.stem.replace("reports", name) + suffix)


def table(path: Path, name: str) -> list[list[str]]:
    """Rows of one of the authors' tables, without its header; all cells are text."""
    with sibling(path, name, ".csv").open(newline="", encoding="utf-8") as file:
        return [[plain(cell) for cell in row] for row in csv.reader(file)][1:]


def as_cells(rows) -> list[list[str]]:
    return sorted(["" if cell is None else plain(str(cell)) for cell in row] for row in rows)


def plain(cell: str) -> str:
    """A number in its shortest form: a column with gaps has fractions in the authors' tables, such as `0.0` for 0."""
    return f"{float(cell):.15g}" if re.fullmatch(r"-?\d+\.\d+", cell) else cell


def test_numbers_are_compared_as_numbers():
    assert [plain(cell) for cell in ("0", "0.0", "-1.0", "12.00", "0.50", "")] == ["0", "0", "-1", "12", "0.5", ""]
    assert [plain(cell) for cell in ("1.0 cm", "OBS-DP", "50000001")] == ["1.0 cm", "OBS-DP", "50000001"]


def read(path: Path) -> list:
    rejects = []
    graphs = list(read_graphs(path, rejects))
    assert not rejects
    assert len(graphs) == len(json.loads(path.read_text(encoding="utf-8")))
    return graphs


def reference(path: Path) -> Agxnet:
    lemmas = json.loads(sibling(path, "lemmas", ".json").read_text(encoding="utf-8"))
    return Agxnet(AgxnetOptions(reference=True, lemmatise=lambda word: lemmas.get(word, word)))


@pytest.mark.parametrize("path", REPORTS)
def test_itemised_rows(path):
    assert as_cells(reference(path).itemise(read(path))) == sorted(table(path, "itemized"))


@pytest.mark.parametrize("path", REPORTS)
def test_parsed_rows(path):
    ours = [row[:9] for row in reference(path).rows(read(path))]
    assert as_cells(ours) == sorted(table(path, "parsed_sorted")) == sorted(table(path, "parsed"))


@pytest.mark.parametrize("path", REPORTS)
def test_landmarked_rows(path):
    ours = [
        (*row[:5], row.label or "OBS-NA", row.modifiers, row.suggestive, row.merged, *row.positions, row.group)
        for row in reference(path).rows(read(path))
    ]
    assert as_cells(ours) == sorted(table(path, "landmarked_sorted"))


@pytest.mark.parametrize("path", REPORTS)
def test_matrices(path):
    arrays = load(sibling(path, "adj", ".npz"))
    ours = matrices(read(path), reference(path))
    assert arrays["landmarks"].tolist() == list(POSITIONS)
    assert arrays["observations"].tolist() == list(ENTITIES)
    assert [study_of(key).study for key in ours.keys] == arrays["study_id"].tolist()
    np.testing.assert_array_equal(ours.cells.astype(np.float64), arrays["matrix"])
    positive, negative = (arrays["matrix"] == 1).any(1), (arrays["matrix"] == 0).any(1)
    np.testing.assert_array_equal(existence_labels(ours.cells), np.where(positive, 1, np.where(negative, 0, -1)))


@pytest.mark.parametrize("path", golden_files("radgraph_anatomy_to_landmark*.csv"))
def test_position_of_every_anatomy(path):
    with path.open(newline="", encoding="utf-8") as file:
        expected = {row["anatomy"]: row["landmark_name"] for row in csv.DictReader(file)}
    assert len(expected) > 900
    assert {anatomy: reference_position(anatomy) for anatomy in expected} == expected


@pytest.mark.parametrize("path", golden_files("radgraph_lemma_to_group*.csv"))
def test_group_of_every_lemma(path):
    with path.open(newline="", encoding="utf-8") as file:
        expected = [tuple(row.values()) for row in csv.DictReader(file)]
    assert [(lemma, merge(lemma), reference_group(merge(lemma))) for lemma, *_ in expected] == expected


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("path", REPORTS)
def test_rows_triplets_and_matrices_say_the_same(path, follow):
    agxnet, graphs = Agxnet(AgxnetOptions(reference=follow)), read(path)
    ours = matrices(graphs, agxnet)
    studies = {study_of(key).study: index for index, key in enumerate(ours.keys)}
    value = {"OBS-DP": 1, "OBS-DA": 0, "present": 1, "absent": 0}
    rows = [(row.study_id, row.group, position, row.label) for row in agxnet.rows(graphs) for position in row.positions]
    triplets = triplets_table(graphs, agxnet).select(["study_id", "entity", "position", "exists"]).to_pylist()
    for said in (rows, [tuple(row.values()) for row in triplets]):
        cells = np.full_like(ours.cells, -1)
        for study, entity, position, label in said:
            cell = studies[study], POSITIONS.index(position), ENTITIES.index(entity)
            cells[cell] = max(cells[cell], value.get(label, -1))
        np.testing.assert_array_equal(cells, ours.cells)


@pytest.mark.parametrize("path", REPORTS)
def test_the_default_loses_no_study_and_no_observation(path):
    graphs = read(path)
    assert matrices(graphs).keys == [key for key, _ in graphs]
    theirs = {
        (row.study_id, row.sentence_ix, row.observation) for row in reference(path).rows(graphs) if row.observation
    }
    ours = {(row.study_id, row.sentence_ix, row.observation) for row in Agxnet().rows(graphs)}
    assert theirs <= ours
