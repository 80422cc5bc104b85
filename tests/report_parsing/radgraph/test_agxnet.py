"""Where the default mends the reference, one fault at a time, and what holds for any graph."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from report_parsing.radgraph.agxnet import Agxnet, AgxnetOptions
from report_parsing.radgraph.graph import Graph, Relation
from report_parsing.radgraph.matrices import existence_labels, matrices
from report_parsing.vocabulary import ENTITIES, POSITIONS
from tests.report_parsing.radgraph.conftest import build, graphs

REFERENCE = AgxnetOptions(reference=True)


def said(graph: Graph, options: AgxnetOptions | None = None) -> list[tuple]:
    rows = Agxnet(options).rows([("k", graph)])
    return [(row.group, position, row.label) for row in rows for position in row.positions]


FAULTS = {
    "modifiers of modifiers": (
        build(
            "Left lower lobe opacity .",
            "0 ANAT-DP modify:2",
            "1 ANAT-DP modify:3",
            "2 ANAT-DP",
            "3 OBS-DP located_at:3",
        ),
        [("opacity", "lung_bases", "OBS-DP")],
        [("opacity", "lower_left_lobe", "OBS-DP")],
    ),
    "anatomy of several words": (
        build("Right Lower Lobe opacity .", "0 ANAT-DP modify:2", "1-2 ANAT-DP", "3 OBS-DP located_at:2"),
        [("opacity", "other", "OBS-DP")],
        [("opacity", "lower_right_lobe", "OBS-DP")],
    ),
    "both sides": (
        build(
            "Left and right hilar mass",
            "0 ANAT-DP modify:3",
            "2 ANAT-DP modify:3",
            "3 ANAT-DP",
            "4 OBS-DP located_at:3",
        ),
        [("mass", "other", "OBS-DP")],
        [("mass", "left_hilar", "OBS-DP"), ("mass", "right_hilar", "OBS-DP")],
    ),
    "no relation": (
        build("Heart , lungs , effusion .", "0 ANAT-DP", "2 ANAT-DP", "4 OBS-DA"),
        [
            ("excluded_obs", "heart_size", None),
            ("effusion", "unspecified", "OBS-DA"),
            ("excluded_obs", "lung_volumes", None),
            ("effusion", "unspecified", "OBS-DA"),
        ],
        [("effusion", "unspecified", "OBS-DA")],
    ),
    "only suggestive": (
        build("Hernia or mass .", "0 OBS-DP suggestive_of:2", "2 OBS-U"),
        [("mass", "unspecified", "OBS-U")],
        [("hernia", "unspecified", "OBS-DP"), ("mass", "unspecified", "OBS-U")],
    ),
    "anatomy in another sentence": (
        build("Opacity . It is retrocardiac .", "0 OBS-DP located_at:2", "4 ANAT-DP"),
        [("excluded_obs", "unspecified", None), ("excluded_obs", "retrocardiac", None)],
        [("opacity", "retrocardiac", "OBS-DP")],
    ),
    "anatomy two levels down": (
        build(
            "opacity left lower lobe", "0 OBS-DP located_at:2", "1 ANAT-DP modify:3", "2 ANAT-DP modify:4", "3 ANAT-DP"
        ),
        [("excluded_obs", "lung_bases", None)],
        [("opacity", "lower_left_lobe", "OBS-DP")],
    ),
    "anatomy related to an observation": (
        build("carina tube tip", "0 ANAT-DP modify:2", "1 OBS-DP", "2 OBS-DP located_at:1"),
        [("tube", "unspecified", "OBS-DP")],
        [("tube", "unspecified", "OBS-DP"), ("tip", "other", "OBS-DP")],
    ),
    "increase": (
        build("increased heart", "0 OBS-DP located_at:2", "1 ANAT-DP"),
        [("enlarge", "heart_size", "OBS-DP")],
        [("excluded_obs", "heart_size", "OBS-DP")],
    ),
    "several words": (
        build("airspace opacity", "0-1 OBS-DP"),
        [("tail_abnorm_obs", "unspecified", "OBS-DP")],
        [("opacity", "unspecified", "OBS-DP")],
    ),
    "cannot be assessed": (
        build("can not be assessed", "0-3 OBS-DP"),
        [("tail_abnorm_obs", "unspecified", "OBS-DP")],
        [("excluded_obs", "unspecified", "OBS-DP")],
    ),
    "normal in other words": (
        build("trachea is midline", "0 ANAT-DP", "2 OBS-DP located_at:1"),
        [("tail_abnorm_obs", "trachea", "OBS-DP")],
        [("normal", "trachea", "OBS-DP")],
    ),
}


@pytest.mark.parametrize(("graph", "reference", "mended"), FAULTS.values(), ids=FAULTS)
def test_fault_is_in_the_reference_and_mended(graph, reference, mended):
    assert said(graph, REFERENCE) == reference
    assert said(graph) == mended


def test_modifiers_and_suggestions_of_an_observation():
    graph = build(
        "very dense large scar may be calcification",
        *("0 OBS-DP modify:2", "1 OBS-DP modify:5", "2 OBS-DA modify:5", "3 OBS-DP suggestive_of:5", "6 OBS-DP"),
    )
    [row] = [row for row in Agxnet(REFERENCE).rows([("k", graph)]) if row.observation == "calcification"]
    assert (row.modifiers, row.suggestive) == ("dense", "scar")
    [row] = [row for row in Agxnet().rows([("k", graph)]) if row.observation == "calcification"]
    assert (row.modifiers, row.suggestive) == ("very|dense|large", "scar")


def test_decimals_end_no_sentence():
    graph = build("A 2 . 5 cm mass . Clear", "5 OBS-DP", "7 OBS-DP")
    assert [(row.sentence_ix, row.sentence) for row in Agxnet(REFERENCE).rows([("k", graph)])] == [
        (1, "5 cm mass ."),
        (2, "Clear"),
    ]
    assert [row.sentence for row in Agxnet().rows([("k", graph)])] == ["A 2 . 5 cm mass .", "Clear"]


def test_a_study_without_entities_keeps_its_row():
    studies = [("a", build("Nothing ."))]
    assert matrices(studies).keys == ["a"]
    assert (matrices(studies).cells == -1).all()
    assert matrices(studies, Agxnet(REFERENCE)).keys == []
    assert matrices([]).cells.shape == (0, len(POSITIONS), len(ENTITIES))


def test_the_lemmatiser_is_ours_to_choose():
    graph = build("ombres", "0 OBS-DP")
    options = AgxnetOptions(lemmatise={"ombres": "opacity"}.__getitem__)
    assert said(graph, options) == [("opacity", "unspecified", "OBS-DP")]


def test_present_wins_over_absent_and_uncertain_says_nothing():
    graph = build("effusion effusion effusion mass", "0 OBS-DP", "1 OBS-DA", "2 OBS-U", "3 OBS-U")
    labels = existence_labels(matrices([("k", graph)]).cells)[0]
    assert labels[ENTITIES.index("effusion")] == 1
    assert labels[ENTITIES.index("mass")] == -1


def test_labels_of_a_matrix():
    cells = np.array([[[1, 0, -1], [0, -1, -1]]], np.int8)
    assert existence_labels(cells).tolist() == [[1, 0, -1]]


@given(st.lists(graphs(), max_size=4), st.booleans())
def test_matrices_say_what_the_rows_say(found, follow):
    agxnet = Agxnet(AgxnetOptions(reference=follow))
    studies = [(str(number), graph) for number, graph in enumerate(found)]
    ours = matrices(studies, agxnet)
    cells = np.full((len(studies), len(POSITIONS), len(ENTITIES)), -1)
    for row in agxnet.rows(studies):
        for position in row.positions:
            cell = int(row.study_id), POSITIONS.index(position), ENTITIES.index(row.group)
            cells[cell] = max(cells[cell], {"OBS-DP": 1, "OBS-DA": 0}.get(row.label, -1))
    np.testing.assert_array_equal(cells[[int(key) for key in ours.keys]], ours.cells)


@given(graphs(forwards=True), st.randoms())
def test_names_and_order_of_entities_do_not_matter(graph, random):
    names = list(graph.entities)
    order = random.sample(names, len(names))
    new = dict(zip(names, (str(number) for number in random.sample(range(100), len(names))), strict=True))
    entities = {
        new[name]: graph.entities[name]._replace(
            relations=tuple(Relation(kind, new[target]) for kind, target in graph.entities[name].relations)
        )
        for name in order
    }
    ours, shuffled = (matrices([("k", one)]).cells for one in (graph, Graph(graph.text, entities)))
    np.testing.assert_array_equal(ours, shuffled)


@given(graphs())
def test_every_observation_is_stated_or_modifies_another(graph):
    stated = {name for _, name, _ in chain.from_iterable(Agxnet().statements(graph))}
    for name, entity in graph.entities.items():
        others = {target for kind, target in entity.relations if kind == "modify"} - {name}
        assert (name in stated) == entity.label.startswith("OBS") or others


def test_a_long_chain_of_modifiers_takes_no_time():
    specs = [f"{number} ANAT-DP modify:{number + 2}" for number in range(5_000)]
    graph = build(" ".join(["lower"] * 5_000 + ["lobe", "opacity"]), *specs, "5000 ANAT-DP", "5001 OBS-DP located_at:1")
    assert said(graph) == [("opacity", "lung_bases", "OBS-DP")]
