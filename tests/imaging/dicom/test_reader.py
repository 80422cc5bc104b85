"""DICOM pixels against pydicom's own chain in floating point, and against the standard's formulas."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

from imaging.decode import read_grey
from imaging.dicom.reader import read_frame
from imaging.dicom.render import render_full_size

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
WITHOUT_WINDOW = ("cxr_siim_jpeg_baseline_8bit_mono2.dcm", "cxr_siim_fake_monochrome1.dcm")
BUNDLED = (  # of pydicom's wheel: signed, rescale, big endian, RLE, JPEG 2000, deflated, 16 and 8 bit
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "693_J2KI.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "rtdose_1frame.dcm",
)


def reference(path: Path) -> np.ndarray:
    """Grey levels as a float, worked out over the whole image by pydicom's own functions."""
    dataset = pydicom.dcmread(path)
    stored = dataset.pixel_array
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        shown = apply_voi(values, dataset) / (2.0 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1)
    elif dataset.get("WindowWidth"):
        shown = scaled_by_pydicom(values, dataset)
    else:
        values = values.astype(float)
        shown = (values - values.min()) / (np.ptp(values) or 1)
    return 255.0 * (1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown)


def scaled_by_pydicom(values: np.ndarray, dataset: Dataset) -> np.ndarray:
    """pydicom maps the window onto the whole range of stored values; bring that range to 0..1."""
    signed = dataset.PixelRepresentation == 1
    low = -(2 ** (dataset.BitsStored - 1)) if signed else 0
    ends = np.array([low, low + 2**dataset.BitsStored - 1], float)
    if "RescaleSlope" in dataset:
        ends = ends * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return (apply_windowing(values, dataset) - ends[0]) / (ends[1] - ends[0])


def close(read: np.ndarray, expected: np.ndarray) -> bool:
    assert read.dtype == np.uint8
    assert read.shape == expected.shape
    return bool(np.abs(read - expected).max() <= 1)


def real_files(shared_data: Path) -> list[Path]:
    return sorted((shared_data / "dicom_samples").glob("*/*.dcm"))


def test_real_images_look_as_pydicom_shows_them(shared_data):
    for path in real_files(shared_data):
        assert close(read_grey(path), reference(path)), path.name


def test_real_images_have_the_facts_of_their_index(shared_data):
    folder = shared_data / "dicom_samples"
    with open(folder / "index.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(real_files(shared_data)) == 7
    for row in rows:
        image = read_grey(folder / row["file"])
        assert image.shape == (int(row["rows"]), int(row["columns"]))
        if Path(row["file"]).name in WITHOUT_WINDOW:
            assert (image.min(), image.max()) == (0, 255)


def test_photometric_tag_alone_makes_a_negative(shared_data):
    folder = shared_data / "dicom_samples"
    image = read_grey(folder / "real" / "cxr_siim_jpeg_baseline_8bit_mono2.dcm").astype(int)
    edited = read_grey(folder / "synthetic_or_edited" / "cxr_siim_fake_monochrome1.dcm").astype(int)
    assert np.abs(image + edited - 255).max() <= 1


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_files_look_as_pydicom_shows_them(name):
    path = Path(get_testdata_file(name, download=False))
    assert close(read_grey(path), reference(path))


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "examples_jpeg2k.dcm", "examples_palette.dcm"])
def test_colour_becomes_luminance_of_the_first_frame(name):
    path = Path(get_testdata_file(name, download=False))
    dataset = pydicom.dcmread(path)
    frame = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        frame = pydicom.pixels.apply_color_lut(frame, dataset) / 257.0
    frame = frame[0] if frame.ndim == 4 else frame
    assert close(read_grey(path), frame @ [0.299, 0.587, 0.114])


def test_first_of_several_frames_is_read(write_dicom):
    frames = np.arange(2 * 6 * 5, dtype=np.uint16).reshape(2, 6, 5)
    path = write_dicom(frames[0], NumberOfFrames=2, PixelData=frames.tobytes(), WindowCenter=30, WindowWidth=60)
    assert close(read_grey(path), 255 * np.clip((frames[0] - 29.5) / 59 + 0.5, 0, 1))


GRADIENT = np.arange(4096, dtype=np.uint16).reshape(64, 64)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_twelve_bits_and_window_functions(write_dicom, photometric, function):
    window = {"WindowCenter": 2000, "WindowWidth": 1500} | ({"VOILUTFunction": function} if function else {})
    path = write_dicom(GRADIENT, bits=12, PhotometricInterpretation=photometric, **window)
    x = GRADIENT.astype(float)
    shown = {
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - 2000) / 1500)),
        "LINEAR_EXACT": np.clip((x - 2000) / 1500 + 0.5, 0, 1),
    }.get(function or "", np.clip((x - 1999.5) / 1499 + 0.5, 0, 1))
    assert close(read_grey(path), 255 * (1 - shown if photometric == "MONOCHROME1" else shown))
    assert close(read_grey(path), reference(path))


def test_signed_rescaled_values(write_dicom):
    rescale = {"RescaleSlope": "0.5", "RescaleIntercept": "-100", "RescaleType": "US"}
    pixels = GRADIENT.astype(np.int16) - 2048
    path = write_dicom(pixels, bits=12, WindowCenter=0, WindowWidth=800, **rescale)
    assert close(read_grey(path), reference(path))
    assert np.diff(read_grey(path).ravel().astype(int)).min() >= 0


def test_falling_rescale_slope_turns_the_image(write_dicom):
    path = write_dicom(GRADIENT, bits=12, RescaleSlope="-1", RescaleIntercept="4095", RescaleType="US")
    image = read_grey(path)
    assert (image[0, 0], image[-1, -1]) == (255, 0)


def test_first_of_several_windows_counts(write_dicom):
    several = write_dicom(GRADIENT, "several.dcm", bits=12, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    one = write_dicom(GRADIENT, "one.dcm", bits=12, WindowCenter=1000, WindowWidth=500)
    assert (read_grey(several) == read_grey(one)).all()


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"WindowCenter": None, "WindowWidth": ""},
        {"WindowCenter": 100},
    ],
)
def test_without_usable_window_the_range_of_the_pixels_is_shown(write_dicom, window):
    window = {key: "" if value is None else value for key, value in window.items()}
    image = read_grey(write_dicom(GRADIENT[10:20] // 2, bits=12, **window))
    assert (image.min(), image.max()) == (0, 255)


def test_padding_is_black_and_does_not_count_for_the_range(write_dicom):
    stored = np.full((8, 8), 2000, np.uint16)
    stored[:, 0], stored[:, 1], stored[:, 2] = 4095, 1000, 4000
    for photometric, dark, bright in (("MONOCHROME2", 0, 255), ("MONOCHROME1", 255, 0)):
        options = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4090}
        image = read_grey(write_dicom(stored, bits=12, PhotometricInterpretation=photometric, **options))
        assert (image[0, 0], image[0, 1], image[0, 2]) == (0, dark, bright)


def test_bits_above_those_stored_are_no_part_of_the_pixels(write_dicom):
    overlay = GRADIENT | np.where(GRADIENT % 3 == 0, 0xA000, 0).astype(np.uint16)
    clean = read_grey(write_dicom(GRADIENT, "clean.dcm", bits=12))
    assert (read_grey(write_dicom(overlay, "overlay.dcm", bits=12)) == clean).all()


def test_high_bit_tells_where_the_value_lies(write_dicom):
    left = write_dicom(GRADIENT << 4, "left.dcm", bits=12, HighBit=15)
    assert (read_grey(left) == read_grey(write_dicom(GRADIENT, "right.dcm", bits=12))).all()


def test_pixels_stored_as_floats(write_dicom):
    values = np.linspace(-3.5, 12, 60, dtype=np.float32).reshape(6, 10)
    path = write_dicom(values, PixelData=None, FloatPixelData=values.tobytes(), BitsStored=None, HighBit=None)
    assert close(read_grey(path), (values + 3.5) / 15.5 * 255)


def test_constant_image_is_black(write_dicom):
    assert not read_grey(write_dicom(np.full((4, 6), 77, np.uint8))).any()


def test_lut_of_more_bits_than_announced(write_dicom):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 8])
    item.add_new("LUTData", "US", [value * 16 for value in range(256)])
    path = write_dicom(np.arange(256, dtype=np.uint8).reshape(16, 16), VOILUTSequence=[item])
    assert close(read_grey(path), np.arange(256).reshape(16, 16) * 16 / 4095 * 255)


def as_described(path):
    with path.open("rb") as stream:
        dataset, stored = read_frame(stream)
        return render_full_size(stored, dataset)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_depth_sign_and_window(write_dicom, data):
    bits = data.draw(st.integers(2, 16))
    signed = data.draw(st.booleans())
    low = -(2 ** (bits - 1)) if signed else 0
    kind = ("i" if signed else "u") + ("1" if bits <= 8 else "2")
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 7)))
    pixels = data.draw(arrays(kind, shape, elements=st.integers(low, low + 2**bits - 1)))
    attributes = {"PhotometricInterpretation": data.draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))}
    if data.draw(st.booleans()):
        attributes["WindowCenter"] = data.draw(st.integers(low, low + 2**bits))
        attributes["WindowWidth"] = data.draw(st.integers(2, 2**bits))
        attributes["VOILUTFunction"] = data.draw(st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]))
    path = write_dicom(pixels, "any.dcm", bits=bits, **attributes)
    assert close(as_described(path), reference(path))
