"""Squares made in one pass differ from the letterboxed full-size image by at most one grey level."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from benchmarks.images import COMPRESSIONS, draw_image, write_dicom
from imaging import decode, raster, scaled_jpg
from imaging.decode import SquareOptions, read_grey, read_square
from imaging.dicom import render
from imaging.letterbox import letterbox
from imaging.shrink import shrink

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
IMAGE = draw_image(700, 523, seed=5)


def difference(path: Path, size: int, **choices) -> int:
    """Worst difference in grey levels to the way over the full-size image."""
    square = read_square(path, SquareOptions(size, **choices))
    grey = read_grey(path)
    assert (square.height, square.width) == grey.shape
    assert square.pixels.dtype == np.uint8
    return int(np.abs(square.pixels.astype(int) - letterbox(grey, size, choices.get("squash", False))).max())


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 90), columns=st.integers(1, 90), data=st.data())
def test_shrinking_equals_the_area_resize_of_opencv(rows, columns, data):
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    image = np.random.default_rng(rows).integers(0, 65536, (rows, columns), dtype=np.uint16)
    expected = cv2.resize(image.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA)
    assert np.allclose(shrink(image, height, width), expected, atol=0.1)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_every_syntax(kind, tmp_path):
    assert difference(write_dicom(tmp_path / "image", IMAGE, kind), 96) <= 1


WINDOWS = [
    (2000, 3200),
    (2000, 1100),
    (2000, 400),
    (2048, 60),
    (2047, 8),
    (2048, 2),
    (300, 200),
    (9000, 100),
    (0, 9000),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_wide_and_narrow(window, function, tmp_path):
    attributes = {"WindowCenter": window[0], "WindowWidth": window[1], "VOILUTFunction": function}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = write_dicom(tmp_path / photometric, IMAGE, PhotometricInterpretation=photometric, **attributes)
        assert difference(path, 64) <= 1


def test_hard_edges_and_noise_where_clipping_does_not_commute_with_averaging(tmp_path):
    noise = np.random.default_rng(0).integers(0, 4096, IMAGE.shape, dtype=np.uint16)
    edges = np.where(np.indices(IMAGE.shape).sum(0) % 7 < 3, 4095, 0).astype(np.uint16)
    for number, pixels in enumerate((noise, edges)):
        for centre, width in WINDOWS:
            path = write_dicom(tmp_path / str(number), pixels, WindowCenter=centre, WindowWidth=width)
            assert difference(path, 50) <= 1


def test_only_gentle_straight_windows_are_scaled_after_averaging(tmp_path, monkeypatch):
    looked_up = []
    look_up = render._look_up_band

    def noting(table, band, out):
        looked_up.append(len(band))
        look_up(table, band, out)

    monkeypatch.setattr(render, "_look_up_band", noting)
    for expected, attributes in (
        (False, {}),
        (False, {"WindowCenter": None, "WindowWidth": None}),
        (False, {"PhotometricInterpretation": "MONOCHROME1"}),
        (True, {"WindowWidth": 200}),
        (True, {"VOILUTFunction": "SIGMOID"}),
        (True, {"PixelPaddingValue": int(IMAGE[0, 0])}),
    ):
        looked_up.clear()
        read_square(write_dicom(tmp_path / "image", IMAGE, **attributes), SquareOptions(64))
        assert bool(looked_up) == expected


def test_padding_overlays_signs_and_tables(tmp_path):
    padded = IMAGE.copy()
    padded[:, :100] = 4095
    overlay = IMAGE | np.where(IMAGE % 3 == 0, 0xA000, 0).astype(np.uint16)
    negative = (IMAGE.astype(np.int16) - 2000).view(np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "US", (4095 * np.linspace(0, 1, 4096) ** 2).astype(int).tolist())
    signed = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
    cases = (
        (padded, {"PixelPaddingValue": 4095}),
        (
            padded,
            {"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095, "WindowCenter": None, "WindowWidth": None},
        ),
        (overlay, {}),
        (IMAGE << 4, {"HighBit": 15}),
        (negative, {**signed, "WindowCenter": 0, "WindowWidth": 2500}),
        (negative & 0xFFF, {"PixelRepresentation": 1, "WindowCenter": 0, "WindowWidth": 2500}),
        (
            negative,
            {**signed, "RescaleSlope": "-2.5", "RescaleIntercept": "30", "WindowCenter": 0, "WindowWidth": 8000},
        ),
        (IMAGE, {"VOILUTSequence": [item]}),
    )
    for number, (pixels, attributes) in enumerate(cases):
        assert difference(write_dicom(tmp_path / str(number), pixels, **attributes), 80) <= 1, number


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_image(tmp_path, data):
    shape = data.draw(st.tuples(st.integers(1, 120), st.integers(1, 120)))
    bits = data.draw(st.integers(9, 16))
    pixels = np.random.default_rng(bits).integers(0, 1 << data.draw(st.integers(1, bits)), shape, dtype=np.uint16)
    attributes = {
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": data.draw(st.integers(0, 1)),
        "WindowCenter": data.draw(st.sampled_from([None, 0, 1 << (bits - 1), 1 << bits])),
        "WindowWidth": data.draw(st.sampled_from([None, 2, 300, 1 << (bits - 1), 1 << bits])),
        "PhotometricInterpretation": data.draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
        "PixelPaddingValue": data.draw(st.sampled_from([None, 0, 1, 511])),
    }
    path = write_dicom(tmp_path / "any", pixels, **attributes)
    assert difference(path, data.draw(st.integers(8, 140))) <= 1


def test_colour_floats_and_upscaling(tmp_path):
    for name in ("examples_palette.dcm", "examples_ybr_color.dcm", "SC_rgb_rle.dcm", "rtdose_1frame.dcm"):
        path = Path(str(get_testdata_file(name, download=False)))
        for size in (32, 1024):
            assert difference(path, size) <= 1


def test_real_images(shared_data):
    for path in sorted((shared_data / "dicom_samples").glob("*/*.dcm")):
        assert difference(path, 224) <= 1, path.name
    for path in sorted((shared_data / "covid_cxr").rglob("*.jp*g"))[::9]:
        for size in (32, 100):
            assert difference(path, size) <= 1, path.name


def jpg(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, "JPEG", **{"quality": 95} | options)
    return path


def test_smooth_jpgs_are_decoded_at_a_quarter_and_marked_ones_in_full(tmp_path, monkeypatch):
    soft = cv2.GaussianBlur((draw_image(1200, 1000, seed=1) >> 4).astype(np.uint8), (0, 0), 3)
    marked = cv2.putText(soft.copy(), "L 12:31", (300, 400), cv2.FONT_HERSHEY_SIMPLEX, 4, 255, 9)
    reductions = []
    read = raster.read_raster

    def noting(stream, reduction=1):
        reductions.append(reduction)
        return read(stream, reduction)

    monkeypatch.setattr(scaled_jpg, "read_raster", noting)
    monkeypatch.setattr(decode, "read_raster", noting)
    for pixels, expected in ((soft, [4]), (marked, [4, 1])):
        path = jpg(tmp_path / "image.jpg", pixels)
        reductions.clear()
        square = read_square(path, SquareOptions(96)).pixels.astype(int)
        assert reductions == expected
        assert np.abs(square - letterbox(read_grey(path), 96)).max() <= 1


def test_turned_odd_and_coloured_jpgs(tmp_path):
    soft = cv2.GaussianBlur((draw_image(1201, 999, seed=1) >> 4).astype(np.uint8), (0, 0), 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    colour = np.dstack([soft, soft // 2, soft])
    for pixels, options in ((soft, {}), (soft[:1200, :992], {"exif": exif}), (colour[:1200, :992], {})):
        for size in (48, 96):
            assert difference(jpg(tmp_path / "image.jpg", pixels, **options), size) <= 1


@pytest.mark.parametrize("shape", [(700, 523), (300, 64), (64, 300), (40, 30)])  # some have a side that grows
def test_squashed_squares(shape, tmp_path):
    soft = cv2.resize(cv2.GaussianBlur(IMAGE, (0, 0), 3), shape[::-1])
    levels = (soft >> 4).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "image.png")
    paths = [write_dicom(tmp_path / "image", soft, next(iter(COMPRESSIONS))), jpg(tmp_path / "image.jpg", levels)]
    for path in (*paths, tmp_path / "image.png"):
        assert difference(path, 96, squash=True) <= 1
        square, boxed = (read_square(path, SquareOptions(96, squash=squash)).pixels for squash in (True, False))
        assert (boxed == 0).sum() - (square == 0).sum() > 1000  # the black beside a letterboxed film


def test_reduced_jpeg_2000_is_an_option_with_an_error(tmp_path):
    path = write_dicom(tmp_path / "image", draw_image(800, 600, seed=2), "jpeg_2000")
    assert difference(path, 64) <= 1
    assert 0 < difference(path, 64, reduced_jpeg_2000=True) <= 12
    small = write_dicom(tmp_path / "small", IMAGE, "jpeg_2000")
    assert difference(small, 400, reduced_jpeg_2000=True) <= 1


def test_constant_borders_are_cut_off_on_request(tmp_path):
    image = cv2.GaussianBlur((IMAGE >> 4).astype(np.uint8), (0, 0), 2)
    framed = np.full((900, 800), 255, np.uint8)
    framed[100:800, 77:600] = image
    path = tmp_path / "image.png"
    Image.fromarray(framed).save(path)
    square = read_square(path, SquareOptions(96, crop_borders=True))
    assert (square.height, square.width) == (900, 800)
    assert np.abs(square.pixels.astype(int) - letterbox(image, 96)).max() <= 6  # white of the image itself may go too
    assert (read_square(path, SquareOptions(96)).pixels[0] == 255).sum() > 80


@pytest.mark.parametrize("pixels", [np.zeros((50, 60), np.uint8), np.eye(60, dtype=np.uint8)[:, :9] * 255])
def test_an_image_that_is_nearly_all_border_stays_whole(tmp_path, pixels):
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    assert difference(path, 32, crop_borders=True) <= 1
