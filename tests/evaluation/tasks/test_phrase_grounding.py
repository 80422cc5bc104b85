"""Phrase grounding equals the same protocol pixel by pixel, one phrase at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.classification import binary_jaccard_index

from evaluation.errors import EvaluationError
from evaluation.metrics.classification import patient_weights
from evaluation.metrics.truth import Masks
from evaluation.tasks.phrase_grounding import LEVELS, PhraseGroundingSettings, score
from tests.evaluation.literal_grounding import by_key
from tests.evaluation.literal_grounding import literal as literal_cells

METRICS = ["contrast_to_noise", "contrast_to_noise_signed", "mean_iou", "pointing_game", "pointing_game_chance"]
RAW = PhraseGroundingSettings(smoothing=0)


def make(rng, phrases=8, grid=5, size=20, classes=2):
    """Maps with ties, masks of blocks, some empty, some everywhere."""
    maps = rng.integers(0, 5, (phrases, grid, grid)) / 4
    blocks = rng.random((phrases, 4, 4)) < rng.choice([0, 0.2, 0.5, 1], (phrases, 1, 1))
    pixels = blocks.repeat(size // 4, 1).repeat(size // 4, 2)
    return maps, Masks(rng.integers(0, 6, phrases), rng.integers(0, classes, phrases), pixels)


def enlarged(small, side):
    """Bilinear between the centres of cells, constant beyond the outermost."""
    grid = len(small)
    places = np.clip((np.arange(side) + 0.5) * grid / side - 0.5, 0, grid - 1)
    low = np.minimum(places.astype(int), max(grid - 2, 0))
    high = np.minimum(low + 1, grid - 1)
    share = places - low
    rows = small[low] * (1 - share)[:, None] + small[high] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, high] * share


def literal(small, mask, config, seen, levels=LEVELS):
    """Contrast to noise, signed; mean IoU; hit; share of pixels; pieces: right, all, found, all."""
    size = len(mask)
    start = (size - seen) // 2
    whole = np.full((size, size), np.nan)
    smooth = ndimage.gaussian_filter(small, config.smoothing) if config.smoothing else small
    whole[start : start + seen, start : start + seen] = enlarged(smooth, seen)
    inside, outside = whole[mask & ~np.isnan(whole)], whole[~mask & ~np.isnan(whole)]
    spread = np.sqrt(inside.var() + outside.var()) if len(inside) and len(outside) else 0.0
    contrast = (inside.mean() - outside.mean()) / spread if spread > 1e-9 else 0.0
    low, high = np.nanmin(whole), np.nanmax(whole)
    values = 2 * whole - 1 if config.cosines else (whole - low) / (high - low) if high > low else whole * 0
    ious = []
    for level in levels:
        region, known = values > level, ~np.isnan(whole)
        union = ((region | mask) & known).sum()
        ious.append((region & mask & known).sum() / union if union else 0.0)
    known = slice(start, start + seen)
    hit, chance, _, _, pieces = literal_cells(small, mask[known, known], config.level, normalise=True)
    return contrast, np.mean(ious), hit, chance, pieces


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 4, 5, 7]),
    st.sampled_from([20, 14, 9]),
    st.sampled_from([0.0, 0.7, 1.5]),
    st.booleans(),
)
def test_every_metric_equals_its_literal_form(seed, grid, seen, smoothing, cosines):
    rng = np.random.default_rng(seed)
    config = PhraseGroundingSettings(smoothing=smoothing, cosines=cosines, level=0.4)
    # no two cells alike, so that rounding decides nothing
    maps, masks = rng.random((6, grid, grid)), make(rng, 6, grid)[1]
    levels = [level + 1 / 77 for level in LEVELS]  # that no pixel between a lowest and a highest cell meets exactly
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.tasks.phrase_grounding.LEVELS", levels)
        values = by_key(score(maps, masks, ["a", "b"], list("uvwxyz"), config, seen=seen, resamples=3))
    each = [literal(*pair, config, seen, levels) for pair in zip(maps, masks.pixels, strict=True)]
    for column, name in enumerate("ab"):
        own = [case for case, of_class in zip(each, masks.columns, strict=True) if of_class == column]
        if not own:
            assert values["mean_iou", name].value is None
            continue
        contrast, union, hit, chance, pieces = (list(part) for part in zip(*own, strict=True))
        right, predicted, found, true = np.sum(pieces, axis=0)
        expected = {
            "contrast_to_noise": np.mean(np.abs(contrast)),
            "contrast_to_noise_signed": np.mean(contrast),
            "mean_iou": np.mean(union),
            "pointing_game": np.mean(hit),
            "pointing_game_chance": np.mean(chance),
            "precision": right / predicted if predicted else 0,
            "recall": found / true if true else 0,
        }
        for metric, value in expected.items():
            assert values[metric, name].value == pytest.approx(value, abs=1e-9), metric
        assert values["mean_iou", name].n == len(own)


def test_mean_iou_equals_torchmetrics():
    rng = np.random.default_rng(7)
    maps, pixels = rng.random((1, 20, 20)), rng.random((1, 20, 20)) < 0.3
    masks = Masks(np.array([0]), np.array([0]), pixels)
    stretched = torch.from_numpy((maps[0] - maps.min()) / (maps.max() - maps.min()))
    ious = [float(binary_jaccard_index(stretched > level, torch.from_numpy(pixels[0]))) for level in LEVELS]
    value = by_key(score(maps, masks, ["a"], ["p"], RAW, resamples=2))["mean_iou", "a"].value
    assert value == pytest.approx(np.mean(ious), abs=1e-7)  # theirs are float32


def test_intervals_are_those_of_resampled_patients():
    rng = np.random.default_rng(1)
    maps, masks = make(rng, phrases=150, classes=1)  # more than one block
    subjects = list("ppqrst")
    value = by_key(score(maps, masks, ["a"], subjects, seed=5, resamples=40))["mean_iou", "a"]
    each = np.array([literal(*pair, PhraseGroundingSettings(), 20)[1] for pair in zip(maps, masks.pixels, strict=True)])
    weights = patient_weights(subjects, 40, seed=5)[:, masks.rows]
    resampled = [np.average(each, weights=row) if row.any() else np.nan for row in weights]
    np.testing.assert_allclose(value.resampled, resampled, atol=1e-9)


def test_a_map_that_finds_it_one_that_avoids_it_and_one_that_says_nothing():
    pixels = np.zeros((1, 8, 8), bool)
    pixels[0, :4, :4] = True
    masks = Masks(np.array([0]), np.array([0]), pixels)

    def found(maps):
        return {metric: value.value for (metric, name), value in by_key(score(maps, masks, ["a"], ["p"])).items()}

    finds, avoids, nothing = (found(maps) for maps in (pixels * 1.0, ~pixels * 1.0, np.full((1, 8, 8), 0.3)))
    assert finds["contrast_to_noise"] == pytest.approx(avoids["contrast_to_noise"])
    assert finds["contrast_to_noise_signed"] == pytest.approx(-avoids["contrast_to_noise_signed"])
    assert finds["contrast_to_noise_signed"] > 1
    assert (finds["pointing_game"], avoids["pointing_game"], finds["recall"], avoids["recall"]) == (1, 0, 1, 0)
    assert finds["mean_iou"] > 0.6 > avoids["mean_iou"]
    assert (nothing["contrast_to_noise"], nothing["mean_iou"], nothing["precision"]) == (0, 0, 0)


def test_a_finding_where_the_network_does_not_look_is_missed():
    pixels = np.zeros((1, 20, 20), bool)
    pixels[0, :2] = True
    masks = Masks(np.array([0]), np.array([0]), pixels)
    values = by_key(score(np.eye(4)[None], masks, ["a"], ["p"], seen=16, resamples=2))
    assert {value.value for value in values.values()} == {0.0}


def test_no_phrases_and_maps_that_do_not_fit():
    nothing = Masks(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 8, 8), bool))
    values = score(np.zeros((0, 4, 4)), nothing, ["a"], ["p", "q"], resamples=3)
    assert {value.metric for value in values} == {*METRICS, "precision", "recall"}
    assert {value.value for value in values} == {None}
    with pytest.raises(EvaluationError, match="do not fit 0 phrases"):
        score(np.zeros((2, 4, 4)), nothing, ["a"], ["p"])
    one = Masks(np.array([0]), np.array([0]), np.ones((1, 8, 8), bool))
    with pytest.raises(EvaluationError, match="not all finite"):
        score(np.full((1, 4, 4), np.nan), one, ["a"], ["p"])
