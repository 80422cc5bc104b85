import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.errors import EvaluationError, NotAvailableError
from evaluation.figures.attention import (
    HIGHEST,
    AttendedRegions,
    WordAttention,
    compute_selected_regions,
    compute_word_attention,
    draw_regions_of_networks,
    draw_selected_regions,
    draw_word_attention,
)
from evaluation.figures.pictures import TRUTH
from tests.evaluation.pictures import of_colour, picture
from tests.models.tiny import SIZE, tiny_method

SENTENCES = ["Small pleural effusion", "The heart is large"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8)


@pytest.mark.parametrize("name", ["gloria", "mgca"])
def test_words_of_a_network(images, name):
    found = compute_word_attention(tiny_method(name), images, SENTENCES)
    assert found.words == [["small", "pleural", "effusion"], ["the", "heart", "is", "large"]]
    assert found.images.shape == (2, SIZE, SIZE)
    assert found.maps.shape[0] == 2
    assert (found.maps[:, :3].sum((2, 3)) > 0.99).all()
    with warnings.catch_warnings(action="error"):
        assert picture(draw_word_attention(found, "A simulation.")).shape == (390, 900, 3)


def test_a_cropped_image_is_shown_as_the_network_sees_it(images):
    method = tiny_method("mgca")
    method.fit = "crop"
    assert (compute_word_attention(method, images, SENTENCES).images == images[:, 8:40, 8:40]).all()


def test_methods_without_attention_say_so(images):
    with pytest.raises(NotAvailableError, match="no attention of words"):
        compute_word_attention(tiny_method("convirt"), images, SENTENCES)
    with pytest.raises(NotAvailableError, match="selects no regions"):
        compute_selected_regions(tiny_method("convirt"), images, SENTENCES)


def test_a_words_attention_lies_on_its_own_panel():
    maps = np.zeros((1, 3, 4, 4))
    maps[0, :, 1, 1] = 0.5
    shown = WordAttention(np.full((1, 32, 32), 128, np.uint8), [["heart", "$is$"]], maps)
    before = picture(draw_word_attention(shown, across=3))
    maps[0, 1, 1, 1], maps[0, 1, 3, 3] = 0, 0.5
    changed = np.argwhere((before != picture(draw_word_attention(shown, across=3))).any(2))
    assert len(changed)
    assert (changed[:, 1] > before.shape[1] * 2 / 3).all()


def test_long_sentences_take_more_rows():
    words = [f"word{index}" for index in range(13)]
    shown = WordAttention(np.zeros((1, 32, 32), np.uint8), [words], np.random.default_rng(0).random((1, 13, 4, 4)))
    assert [picture(draw_word_attention(shown, across=across)).shape[:2] for across in (7, 6)] == [
        (390, 1050),
        (565, 900),
    ]


def test_regions_of_a_network(images):
    found = compute_selected_regions(tiny_method("lrclr"), images, SENTENCES)
    assert found.images.shape == (2, SIZE, SIZE)
    assert found.selected.shape == (2, *found.maps.shape[2:])
    heads = tiny_method("lrclr").selected_regions(torch.from_numpy(images)[:, None], SENTENCES).index
    assert found.selected.sum() == sum(len(set(row)) for row in heads.tolist())
    assert not found.maps[~np.broadcast_to(found.selected[:, None], found.maps.shape)].any()


def test_the_most_attended_regions_are_bold():
    selected = np.zeros((1, 4, 4), bool)
    selected[0, 0] = True
    maps = np.where(selected, np.arange(16).reshape(4, 4) / 100, 0)[:, None]
    regions = AttendedRegions(np.zeros((1, 32, 32), np.uint8), selected, maps)
    drawn = picture(draw_selected_regions(regions, ["$effusion$"], "A simulation."))
    bold = np.argwhere((abs(drawn - [0xFF, 0x9D, 0x00]) < 12).all(2))
    thin = np.argwhere((abs(drawn - [0x37, 0xD0, 0xFF]) < 60).all(2))
    width = drawn.shape[1]
    assert len(bold) > len(thin) > 0
    assert (bold[:, 1] > 0.47 * width).all()  # the last two of four
    assert (thin[:, 1] < 0.53 * width).all()
    one = replace(regions, selected=selected & (np.arange(4) == 1))
    assert of_colour(draw_selected_regions(one, ["a"]), HIGHEST)
    assert not of_colour(draw_selected_regions(one, ["a"]), TRUTH)


def test_pictures_of_nothing_are_refused():
    empty = np.zeros((0, 8, 8), np.uint8)
    with pytest.raises(EvaluationError, match="at least one image"):
        draw_word_attention(WordAttention(empty, [], np.zeros((0, 1, 2, 2))))
    with pytest.raises(EvaluationError, match="a title, for each image"):
        draw_selected_regions(AttendedRegions(empty, empty > 0, empty[:, None]), [])


def test_regions_of_chexzero_stand_below_those_of_lrclr(images):
    found = {name: compute_selected_regions(tiny_method(name), images, SENTENCES) for name in ("lrclr", "chexzero")}
    assert found["chexzero"].selected.any()
    drawn = draw_regions_of_networks(found, ["effusion", "heart"], "A simulation.")
    alone = draw_regions_of_networks({"lrclr": found["lrclr"]}, ["effusion", "heart"], "A simulation.")
    assert picture(drawn).shape == (610, 520, 3)
    assert picture(alone).shape == (325, 520, 3)
    assert of_colour(drawn, HIGHEST) > of_colour(alone, HIGHEST) > 0
    with pytest.raises(EvaluationError, match="needs networks"):
        draw_regions_of_networks({}, ["effusion"])
    with pytest.raises(EvaluationError, match="a title for each"):
        draw_regions_of_networks(found, ["effusion"])
