"""What cannot be used counts as absent, and where nothing is left to show the image is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from imaging.decode import SquareOptions, read_film, read_grey, read_square
from imaging.errors import ImageError

pytestmark = [pytest.mark.filterwarnings("ignore:::pydicom"), pytest.mark.filterwarnings("error:::imaging")]
GRADIENT = np.arange(1000, 3048, 8, dtype=np.uint16).reshape(16, 16)  # grey level k is 1000 + 8 k
SHOWN = np.arange(256).reshape(16, 16)
NUMBERS = ["NaN", "nan", "inf", "-inf", "1e999", "abc", "1.2.3", ""]
KEYS = {
    "WindowCenter": b"\x28\x00\x50\x10",
    "WindowWidth": b"\x28\x00\x51\x10",
    "RescaleIntercept": b"\x28\x00\x52\x10",
    "RescaleSlope": b"\x28\x00\x53\x10",
}


def spelt(path: Path, **texts: str) -> Path:
    """The file with these texts as values of decimal strings, which a writer would refuse."""
    content = path.read_bytes()
    for keyword, text in texts.items():
        at = content.index(KEYS[keyword] + b"DS")
        length = struct.unpack_from("<H", content, at + 6)[0]
        value = text.encode() + b" " * (len(text) % 2)
        content = content[: at + 6] + struct.pack("<H", len(value)) + value + content[at + 8 + length :]
    path.write_bytes(content)
    return path


def is_close(path: Path, expected: np.ndarray) -> bool:
    return bool(np.abs(read_grey(path).astype(int) - expected).max() <= 1)


@pytest.mark.parametrize("text", NUMBERS)
def test_a_window_without_numbers_counts_as_absent(write_dicom, text):
    window = {"WindowCenter": 1500, "WindowWidth": 400}
    for one in ({"WindowCenter": text}, {"WindowWidth": text}, {"WindowCenter": text, "WindowWidth": text}):
        path = spelt(write_dicom(GRADIENT, bits=12, **window), **one)
        assert is_close(path, SHOWN)
        assert np.abs(read_square(path, SquareOptions(16)).pixels.astype(int) - SHOWN).max() <= 1


@pytest.mark.parametrize("function", ["CUBIC", "", ["SIGMOID", "LINEAR"]])
def test_an_unknown_function_counts_as_absent(write_dicom, function):
    window = {"WindowCenter": 1500, "WindowWidth": 17}
    expected = read_grey(write_dicom(GRADIENT, "plain.dcm", bits=12, **window))
    assert (read_grey(write_dicom(GRADIENT, bits=12, VOILUTFunction=function, **window)) == expected).all()


def test_the_first_usable_window_counts(write_dicom):
    several = write_dicom(GRADIENT, "several.dcm", bits=12, WindowCenter=[1500, 1200], WindowWidth=[400, 200])
    spelt(several, WindowCenter="NaN\\1200\\2000")
    one = write_dicom(GRADIENT, "one.dcm", bits=12, WindowCenter=1200, WindowWidth=200)
    assert (read_grey(several) == read_grey(one)).all()
    assert 0 < (read_grey(one) == 255).mean() < 1


@pytest.mark.parametrize("text", NUMBERS)
def test_a_rescaling_without_numbers_counts_as_absent(write_dicom, text):
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-5", "WindowCenter": 2024.5, "WindowWidth": 2041}
    plain = read_grey(write_dicom(GRADIENT, "plain.dcm", bits=12, WindowCenter=2024.5, WindowWidth=2041))
    lowered = read_grey(write_dicom(GRADIENT - 5, "lowered.dcm", bits=12, WindowCenter=2024.5, WindowWidth=2041))
    assert is_close(spelt(write_dicom(GRADIENT, bits=12, **rescale), RescaleSlope=text), lowered)
    both = spelt(write_dicom(GRADIENT, bits=12, **rescale), RescaleSlope=text, RescaleIntercept=text)
    assert is_close(both, plain)


@pytest.mark.parametrize(
    ("rescale", "message"),
    [({"RescaleSlope": "1e308"}, "too large"), ({"RescaleIntercept": "1e300"}, "no difference")],
)
def test_a_rescaling_that_leaves_nothing_to_show_is_refused(write_dicom, rescale, message):
    path = spelt(write_dicom(GRADIENT, bits=12, RescaleSlope="1", RescaleIntercept="0"), **rescale)
    with pytest.raises(ImageError, match=f"unreadable_pixels: .*{message}"):
        read_grey(path)


def test_numbers_that_are_none_are_left_out_of_the_header(write_dicom):
    path = spelt(write_dicom(GRADIENT, bits=12, WindowCenter=1500, WindowWidth=400), WindowCenter="NaN")
    kept = read_square(path, SquareOptions(8)).header.kept
    assert "WindowCenter" not in kept
    assert kept["WindowWidth"] == 400
    json.dumps(kept, allow_nan=False)


def float_file(write_dicom, values: np.ndarray, **attributes) -> Path:
    keyword = "FloatPixelData" if values.itemsize == 4 else "DoubleFloatPixelData"
    return write_dicom(
        values, PixelData=None, BitsStored=None, HighBit=None, **{keyword: values.tobytes()}, **attributes
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 127.5, "WindowWidth": 256}])
def test_float_pixels_that_are_no_numbers_are_black(write_dicom, kind, window):
    values = SHOWN.astype(kind)
    values[3] = np.nan
    values[4], values[5] = np.inf, -np.inf
    expected = np.where(np.isfinite(values), SHOWN, 0)
    assert is_close(float_file(write_dicom, values, **window), expected)
    negative = np.where(np.isfinite(values), 255 - SHOWN, 0)
    assert is_close(float_file(write_dicom, values, **window, PhotometricInterpretation="MONOCHROME1"), negative)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_float_pixels_without_any_number_are_refused(write_dicom, value):
    with pytest.raises(ImageError, match="unreadable_pixels: No pixel is a number"):
        read_grey(float_file(write_dicom, np.full((6, 8), value, np.float32)))


def test_float_pixels_too_far_apart_are_refused(write_dicom):
    with pytest.raises(ImageError, match=r"unreadable_pixels: .*too large"):
        read_grey(float_file(write_dicom, np.array([[-1.7e308, 0], [1, 1.7e308]])))


def test_float_pixels_have_no_colour(write_dicom):
    values = np.full((6, 8), np.nan, np.float32)
    attributes = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "Columns": 8, "Rows": 2}
    path = write_dicom(values, PixelData=None, FloatPixelData=values.tobytes(), BitsStored=32, HighBit=31, **attributes)
    with pytest.raises(ImageError, match=r"unreadable_pixels: .*no colour"):
        read_grey(path)


def table(descriptor: list[int], data: list[int] | bytes) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return [item]


CURVE = [value**2 // 256 for value in range(256)]  # of 8 bits


def test_a_voi_lut_of_no_bits_has_those_of_its_entries(write_dicom):
    expected = np.array(CURVE)[SHOWN]
    for bits in (0, 8, 200):
        path = write_dicom(SHOWN.astype(np.uint8), VOILUTSequence=table([256, 0, bits], CURVE))
        assert is_close(path, expected)


@pytest.mark.parametrize(
    "broken",
    [
        table([256, 0, 0], [0] * 256),
        table([256, 0, 8], [7] * 256),
        table([256, 0, 8], b""),
        table([0, 0, 16], []),
        table([256, 0], CURVE),
        [Dataset()],
        [],
    ],
)
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_without_use_counts_as_absent(write_dicom, sequence, broken):
    attributes = {"RescaleSlope": "2", "RescaleIntercept": "0", "WindowCenter": 4048, "WindowWidth": 4082}
    expected = read_grey(write_dicom(GRADIENT, "plain.dcm", bits=12, **attributes))
    assert len(np.unique(expected)) > 100
    path = write_dicom(GRADIENT, bits=12, **attributes, **{sequence: broken})
    assert (read_grey(path) == expected).all()


def test_a_modality_lut_of_no_bits_is_used(write_dicom):
    path = write_dicom(SHOWN.astype(np.uint8), ModalityLUTSequence=table([256, 0, 0], CURVE))
    assert is_close(path, np.array(CURVE)[SHOWN] / CURVE[-1] * 255)


@pytest.mark.parametrize("kind", ["US", "SS"])
def test_the_first_value_of_a_table_has_the_sign_of_the_pixels(write_dicom, kind):
    item = Dataset()
    first = 40_000 if kind == "US" else 40_000 - 65_536
    item.add_new("LUTDescriptor", kind, [256, first, 8])
    item.add_new("LUTData", "US", CURVE)
    path = write_dicom((SHOWN + 40_000).astype(np.uint16), VOILUTSequence=[item])
    assert is_close(path, np.array(CURVE)[SHOWN])
    item = table([256, 65_536 - 128, 8], CURVE)
    path = write_dicom((SHOWN - 128).astype(np.int16), VOILUTSequence=item)
    assert is_close(path, np.array(CURVE)[SHOWN])


@pytest.mark.parametrize("entries", [0, 256])
def test_a_palette_without_colours_is_refused(write_dicom, entries):
    palette = {}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [entries, 0, 16]
        palette[f"{colour}PaletteColorLookupTableData"] = b""
    path = write_dicom(SHOWN.astype(np.uint8), PhotometricInterpretation="PALETTE COLOR", **palette)
    with pytest.raises(ImageError, match="unreadable_pixels"):
        read_grey(path)


@pytest.mark.parametrize("size", [8, 200])
@pytest.mark.parametrize(
    "attributes",
    [
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 255},
        {"PixelPaddingValue": 1, "PixelPaddingRangeLimit": 255},
    ],
)
def test_what_shows_one_grey_is_no_film(write_dicom, attributes, size):
    """It would be learned as a radiograph."""
    pixels = np.arange(64 * 100, dtype=np.uint32).reshape(64, 100) // 26
    assert read_film(write_dicom(pixels.astype(np.uint8)), SquareOptions(size)).pixels.any()
    path = write_dicom(pixels.astype(np.uint8), **attributes)
    with pytest.raises(ImageError, match="constant_image"):
        read_film(path, SquareOptions(size))


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_an_image_of_one_grey_is_no_film(tmp_path, level, ending):
    Image.fromarray(np.full((90, 70), level, np.uint8)).save(tmp_path / f"a.{ending}")
    with pytest.raises(ImageError, match="constant_image"):
        read_film(tmp_path / f"a.{ending}", SquareOptions(32))
