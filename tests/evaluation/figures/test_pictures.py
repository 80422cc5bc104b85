import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.figures.pictures import INLINE_LIMIT, data_uri, draw_heat_maps, draw_roc_curves, shrink


def picture(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    masks = np.zeros((4, 96, 96), bool)
    masks[:3, 20:50, 10:40] = True  # the last one is empty
    return rng.integers(0, 256, (4, 96, 96), dtype=np.uint8), masks, rng.random((4, 8, 8))


def test_heat_maps_show_outline_and_attention(images):
    with warnings.catch_warnings(action="error"):
        drawn = picture(draw_heat_maps(*images, ["effusion"] * 4, note="A simulation."))
    blue = (abs(drawn - [0x37, 0xD0, 0xFF]) < 12).all(2)
    assert blue.any()
    attention = images[2].copy()
    attention[0] = attention[0][::-1]
    other = picture(draw_heat_maps(images[0], images[1], attention, ["effusion"] * 4, note="A simulation."))
    changed = np.argwhere((drawn != other).any(2))
    height, width = drawn.shape[:2]
    assert (changed[:, 0] < height / 2).all()  # the first of four stands above, its attention second of six panels
    assert (width / 6 < changed[:, 1]).all()
    assert (changed[:, 1] < width / 3).all()


def test_small_version_fits_and_is_the_same_picture(images):
    large = draw_heat_maps(*images, ["effusion"] * 4)
    small = shrink(large)
    assert len(large) > INLINE_LIMIT >= len(small)
    height, width = picture(large).shape[:2]
    size = picture(small).shape[:2]
    assert size[0] / size[1] == pytest.approx(height / width, rel=0.02)
    assert len(data_uri(small)) < 60_100
    assert data_uri(small).startswith("data:image/jpeg;base64,")
    assert data_uri(large).startswith("data:image/png;base64,")


def test_a_limit_nothing_fits(images):
    with pytest.raises(EvaluationError, match="No picture fits into 10 bytes"):
        shrink(draw_heat_maps(*images, ["a"] * 4), limit=10)


def test_pictures_are_deterministic(images):
    assert draw_heat_maps(*images, ["a"] * 4) == draw_heat_maps(*images, ["a"] * 4)


def test_lists_of_other_lengths_are_refused(images):
    with pytest.raises(EvaluationError, match="as many images"):
        draw_heat_maps(*images, ["a"])
    with pytest.raises(EvaluationError, match="at least one"):
        draw_heat_maps(images[0][:0], images[1][:0], images[2][:0], [])


def test_roc_curves_with_a_class_that_cannot_be_scored():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (50, 3)).astype(float)
    labels[:, 2] = 1
    labels[:9, 0] = np.nan
    with warnings.catch_warnings(action="error"):
        assert picture(draw_roc_curves(rng.random((50, 3)), labels, ["a", "b", "c"], "note")).std() > 0


def test_a_note_is_wrapped_and_read_as_it_stands(images):
    labels = np.array([[0.0], [1.0]])
    short, long = (
        picture(draw_roc_curves(labels, labels, ["a"], note)) for note in (r"$\frac$ of it", r"$\frac$ of it " * 30)
    )
    assert short.shape == long.shape
    rows = [np.flatnonzero((drawn < 100).all(2).any(1)) for drawn in (short, long)]
    assert rows[1].max() <= len(long) - 2  # nothing is cut off
    assert (long < 100).all(2).any(1)[-60:].sum() > (short < 100).all(2).any(1)[-60:].sum()  # several lines
    assert not (long < 100).all(2)[:, [0, -1]].any()


def test_no_global_state():
    code = "import sys, evaluation.figures.pictures; sys.exit('matplotlib.pyplot' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
