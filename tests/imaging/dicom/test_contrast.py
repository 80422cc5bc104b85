"""A picture of nearly one grey is shown over the range of its pixels, and named; what has none is no radiograph."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from imaging.decode import MaskOptions, SquareOptions, read_film, read_grey, read_mask
from imaging.dicom.contrast import Display
from imaging.errors import ImageError

LOW, HIGH = 1000, 3000
FILM = np.round(
    np.random.default_rng(0).normal(0, 8, (300, 240)) + LOW + 20 + np.linspace(0, HIGH - LOW - 40, 240)[None]
)
FILM = np.clip(FILM, LOW, HIGH).astype(np.uint16)
FILM[0, :2] = LOW, HIGH
OVER_ITS_RANGE = (FILM - LOW) / (HIGH - LOW) * 255.0


def table(entries, first, bits):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", [int(entry) for entry in entries])
    return [item]


USELESS = {
    "window above": {"WindowCenter": 40_000, "WindowWidth": 5_000},
    "window below": {"WindowCenter": 200, "WindowWidth": 300},
    "window far wider": {"WindowCenter": 32_768, "WindowWidth": 65_536},
    "threshold": {"WindowCenter": 2_000, "WindowWidth": 2},
    "sigmoid beside": {"WindowCenter": 40_000, "WindowWidth": 500, "VOILUTFunction": "SIGMOID"},
    "table that ends low": {"VOILUTSequence": table(np.linspace(0, 3_000, 4_096), 0, 16)},
    "table beside": {"VOILUTSequence": table(np.arange(4_096), 30_000, 12)},
    "slope of zero nearly": {"RescaleSlope": 1e-6, "WindowCenter": 500, "WindowWidth": 1_000},
}


@pytest.mark.parametrize("name", USELESS)
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_attributes_that_leave_one_grey_give_way_to_the_range_of_the_pixels(write_dicom, name, photometric):
    path = write_dicom(FILM, PhotometricInterpretation=photometric, **USELESS[name])
    wanted = OVER_ITS_RANGE if photometric == "MONOCHROME2" else 255 - OVER_ITS_RANGE
    assert np.abs(read_grey(path) - wanted).max() <= 1
    film = read_film(path, SquareOptions(64))
    assert film.display_fallback == Display.PIXELS.value == "range of the pixels"
    assert np.ptp(film.pixels) > 200


def test_a_window_that_shows_something_is_kept(write_dicom):
    for width in (4_000, 700):
        film = read_film(write_dicom(FILM, WindowCenter=2_000, WindowWidth=width), SquareOptions(64))
        assert film.display_fallback == ""


def test_padding_beside_a_white_picture_does_not_count(write_dicom):
    """Black and white, as range of grey levels goes, but nobody is seen."""
    padded = FILM.copy()
    padded[:, :60] = 0
    path = write_dicom(padded, PixelPaddingValue=0, WindowCenter=200, WindowWidth=300)
    grey = read_grey(path)
    low, high = padded[padded > 0].min(), padded.max()
    assert np.abs(grey[:, 60:] - (padded[:, 60:] - float(low)) / (high - low) * 255).max() <= 1
    assert not grey[:, :60].any()
    assert read_film(path, SquareOptions(64)).display_fallback == "range of the pixels"


@pytest.mark.parametrize("attributes", [{}, {"WindowCenter": 40_000, "WindowWidth": 5_000}])
def test_a_few_pixels_far_away_do_not_darken_the_others(write_dicom, attributes):
    dead = FILM.copy()
    dead[5:8, 5:8] = 65_535
    film = read_film(write_dicom(dead, **attributes), SquareOptions(64))
    assert film.display_fallback == "range of most pixels"
    assert np.ptp(np.quantile(film.pixels[:, 10:50], [0.05, 0.95])) > 150


@pytest.mark.parametrize("place", [(5, 5), (4, 4)])  # of a file that a sample of its pixels has, or has not
@pytest.mark.parametrize("kind", ["dicom", "png", "shallow png", "colour"])
def test_one_pixel_far_away_does_not_darken_the_others(write_dicom, tmp_path, kind, place):
    shallow = (FILM - LOW) // 100
    film, far = (shallow.astype(np.uint8), 255) if kind in ("shallow png", "colour") else (FILM, 65_535)
    dead = film.copy()
    dead[place] = far
    path = tmp_path / "dead.png"
    if kind == "dicom":
        path = write_dicom(dead)
    elif kind == "colour":
        Image.fromarray(np.dstack([dead] * 3)).save(path)
    else:
        Image.fromarray(dead).save(path)
    grey = read_grey(path).astype(float)
    low, high = np.quantile(film, [0.005, 0.995])
    wanted = np.clip((film - low) / (high - low), 0, 1) * 255
    wanted[place] = 255
    assert np.abs(grey - wanted).max() <= (2 if far > 255 else 13)  # the ends of few levels are whole ones
    assert read_film(path, SquareOptions(64)).display_fallback == "range of most pixels"


def test_a_table_that_ends_low_keeps_its_direction(write_dicom):
    """What it makes dark is dark over the range of the pixels as well."""
    falling = {"VOILUTSequence": table(np.linspace(3_000, 0, 4_096), 0, 16)}
    assert np.abs(read_grey(write_dicom(FILM, **falling)) - (255 - OVER_ITS_RANGE)).max() <= 1
    negative = write_dicom(FILM, PhotometricInterpretation="MONOCHROME1", **falling)
    assert np.abs(read_grey(negative) - OVER_ITS_RANGE).max() <= 1


@pytest.mark.parametrize("kind", ["constant", "letters", "padding"])
def test_what_is_constant_is_no_radiograph(write_dicom, kind):
    pixels, attributes = np.full((300, 240), 700, np.uint16), {"WindowCenter": 40_000, "WindowWidth": 5_000}
    if kind == "letters":
        pixels[10:14, 10:24] = 65_535
    if kind == "padding":
        pixels, attributes = FILM, {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65_535}
    with pytest.raises(ImageError, match="constant_image"):
        read_film(write_dicom(pixels, **attributes), SquareOptions(64))


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("size", [32, 400])  # smaller than the file: a JPG is then decoded at a lower resolution
def test_a_dark_raster_is_shown_over_its_range(tmp_path, ending, size):
    dark = (OVER_ITS_RANGE / 255 * 20 + 3).astype(np.uint8)
    Image.fromarray(dark).save(tmp_path / f"dark.{ending}", **({"quality": 98} if ending == "jpg" else {}))
    film = read_film(tmp_path / f"dark.{ending}", SquareOptions(size))
    assert film.display_fallback == "range of the pixels"
    assert np.ptp(film.pixels) > 200
    Image.fromarray(np.round(OVER_ITS_RANGE).astype(np.uint8)).save(tmp_path / f"film.{ending}")
    assert read_film(tmp_path / f"film.{ending}", SquareOptions(size)).display_fallback == ""


@pytest.mark.parametrize("level", [0, 128, 255])
def test_noise_of_a_coded_black_image_is_not_made_a_radiograph(tmp_path, level):
    noise = np.random.default_rng(1).integers(-1, 2, (200, 300)) + level
    Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(tmp_path / "noise.jpg", quality=60)
    with pytest.raises(ImageError, match="constant_image"):
        read_film(tmp_path / "noise.jpg", SquareOptions(64))


def test_a_mask_keeps_its_levels(tmp_path):
    """Its threshold is a grey level of the file."""
    mask = np.zeros((60, 60), np.uint8)
    mask[10:30] = 3
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert not read_mask(tmp_path / "mask.png", MaskOptions(60, threshold=10)).any()
    assert read_mask(tmp_path / "mask.png", MaskOptions(60, threshold=2))[12, 12]
