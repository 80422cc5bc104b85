import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from evaluation.metrics.map_overlap import dice, iou, lay_over, match_regions
from evaluation.metrics.truth import Masks
from evaluation.tasks.zero_shot_grounding import GRID, score
from tests.evaluation.literal_grounding import by_key, enlarge, literal, make


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from(GRID[::9]),
)
def test_cells_equal_enlarged_pixels(seed, grid, extra, normalise, threshold):
    size = max(3, grid) + extra
    maps, masks = make(np.random.default_rng(seed), grid, size)
    cells = lay_over(maps, masks, normalise)
    region = cells.values > threshold
    overlap, union = dice(region, cells), iou(region, cells)
    for index, (row, column, mask) in enumerate(zip(masks.rows, masks.columns, masks.pixels, strict=True)):
        expected = literal(maps[row, column], mask, threshold, normalise)
        assert overlap[index] == pytest.approx(expected[2], abs=1e-12)
        assert union[index] == pytest.approx(expected[3], abs=1e-12)
        assert match_regions(region[index], mask, cells, 0.1) == expected[4]
        values = by_key(
            score(
                maps,
                Masks(*(part[[index]] for part in vars(masks).values())),
                ["a", "b"],
                np.arange(6).astype(str),
                np.full(2, threshold),
                normalise,
                resamples=2,
            )
        )
        name = "ab"[column]
        assert values["pointing_game", name].value == expected[0]
        assert values["pointing_game_chance", name].value == pytest.approx(expected[1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(0, 12), st.sampled_from([0.0, 0.3, 1.0]))
def test_dice_and_iou_equal_scikit_learn_on_pixels(seed, grid, extra, share):
    size = max(3, grid) + extra
    rng = np.random.default_rng(seed)
    maps, masks = make(rng, grid, size, share=share)  # of share 0 all masks are empty, of share 1 none has an outside
    cells = lay_over(maps, masks, normalise=False)
    region = cells.values > rng.choice([-1, 0.25, 1])  # everywhere, somewhere, nowhere
    pairs = zip(dice(region, cells), iou(region, cells), region, masks.pixels, strict=True)
    for overlap, union, inside, mask in pairs:
        pixels = enlarge(inside.reshape(grid, grid), size).ravel()
        assert overlap == pytest.approx(f1_score(mask.ravel(), pixels, zero_division=0), abs=1e-9)
        assert union == pytest.approx(jaccard_score(mask.ravel(), pixels, zero_division=0), abs=1e-9)
