import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from sklearn.neighbors import NearestNeighbors

from evaluation.errors import EvaluationError
from evaluation.figures.embeddings import (
    NO_GROUP,
    REST,
    _choose_palette,
    draw_embeddings,
    draw_embeddings_of_networks,
    group_by_label,
    group_by_prototype,
    reduce_to_plane,
)
from tests.evaluation.pictures import of_colour, picture


def clusters(n=60, dim=12, seed=0):
    """Vectors around three directions, and which."""
    rng = np.random.default_rng(seed)
    of = np.arange(n) % 3
    return 4 * np.eye(dim)[of] + rng.normal(0, 0.3, (n, dim)), of


def test_images_are_coloured_by_the_one_class_they_have():
    labels = np.array([[1, 0, np.nan], [0, 1, -1], [1, 1, 0], [0, 0, 0], [np.nan, np.nan, 1]])
    groups = group_by_label(labels, ["a", "b", "c"])
    assert groups.members.tolist() == [0, 1, NO_GROUP, NO_GROUP, 2]
    assert groups.names == ("a", "b", "c")


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 30), st.integers(1, 10))
def test_images_are_coloured_by_the_prototype_of_the_largest_cosine(seed, n, prototypes, named):
    rng = np.random.default_rng(seed)
    vectors, centres = rng.normal(size=(n, 5)), rng.normal(size=(prototypes, 5)) * 10
    groups = group_by_prototype(vectors, centres, named)
    cosines = [[v @ c / np.linalg.norm(v) / np.linalg.norm(c) for c in centres] for v in vectors]
    nearest = np.argmax(cosines, axis=1)
    counts = np.bincount(nearest, minlength=prototypes)
    kept = {int(name.removeprefix("prototype ")) for name in groups.names}
    assert len(kept) == min(named, np.count_nonzero(counts))
    assert min(counts[list(kept)]) >= max((counts[p] for p in range(prototypes) if p not in kept), default=0)
    for member, prototype in zip(groups.members, nearest, strict=True):
        assert (groups.names[member] == f"prototype {prototype}") if prototype in kept else (member == NO_GROUP)


def test_neighbours_stay_neighbours_and_the_seed_decides():
    vectors, of = clusters()
    placed = reduce_to_plane(vectors, seed=3)
    closest = NearestNeighbors(n_neighbors=6).fit(placed).kneighbors(return_distance=False)
    assert (of[closest] == of[:, None]).mean() > 0.95
    np.random.seed(1)
    assert (reduce_to_plane(vectors, seed=3) == placed).all()


def test_a_panel_by_label_and_one_by_prototype():
    vectors, of = clusters()
    labels = np.eye(4)[of]
    labels[0] = 1
    with warnings.catch_warnings(action="error"):
        one = draw_embeddings(vectors, labels, list("abcd"))
        both = draw_embeddings(vectors, labels, list("abcd"), np.eye(12)[:3], note="A $note$ that is long. " * 20)
    assert picture(one).shape == (420, 560, 3)
    assert picture(both).shape == (420, 1120, 3)
    for index in range(3):
        colour = colormaps["tab10"](index)
        assert of_colour(both, colour) > of_colour(one, colour) > 100
    assert of_colour(one, REST)


def test_networks_have_a_panel_each_of_the_same_images():
    vectors, of = clusters()
    labels = np.eye(4)[of]
    both = {"imagenet": vectors, "$convirt$": vectors[:, ::-1]}
    drawn = draw_embeddings_of_networks(both, labels, list("abcd"), "A simulation.", largest=20)
    assert picture(drawn).shape == (420, 1120, 3)
    alone = [draw_embeddings_of_networks({"a": vectors}, labels, list("abcd"), seed=s, largest=9) for s in (0, 0, 1)]
    assert alone[0] == alone[1] != alone[2]
    for wrong in ({}, {"a": vectors, "b": vectors[1:]}):
        with pytest.raises(EvaluationError, match="vectors of each network"):
            draw_embeddings_of_networks(wrong, labels, list("abcd"))


def test_fewer_images_are_drawn_of_many_the_same_each_time():
    vectors, of = clusters(40)
    drawn = [draw_embeddings(vectors, np.eye(3)[of], list("abc"), seed=seed, largest=9) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("n", [5, 6])
def test_a_handful_of_images(n):
    with warnings.catch_warnings(action="error"):
        assert picture(draw_embeddings(np.eye(n), np.eye(n), [str(index) for index in range(n)])).any()


def test_too_few_images_are_refused():
    with pytest.raises(EvaluationError, match="at least 5 images, not 4 for 4"):
        draw_embeddings(np.eye(4), np.eye(4), list("abcd"))
    with pytest.raises(EvaluationError, match="not 8 for 9"):
        draw_embeddings(np.eye(9), np.eye(9)[:8], list("abcdefghi"))


def test_no_class_has_the_colour_of_the_rest():
    for count in (3, 9, 10, 14, 18):
        colours = _choose_palette(count)
        assert len(colours) >= count
        assert len({tuple(colour) for colour in colours}) == len(colours)
        assert (np.ptp(colours[:, :3], axis=1) > 0).all()
