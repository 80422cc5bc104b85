"""Harmless contradictions of a header lose no image and change none."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from imaging.decode import read_grey
from imaging.dicom.numbers import read_numbers, read_whole

NOISE = np.random.default_rng(0).normal(0, 30, (301, 240))
FILM = np.clip(NOISE + np.linspace(200, 3800, 240), 0, 4095).astype(np.uint16)
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3000, "bits": 12}


def written(keyword, representation, value):
    """An attribute as its bytes."""
    tag = Tag(tag_for_keyword(keyword))
    return RawDataElement(tag, representation, len(value), value, 0, False, True, True)


@pytest.fixture(scope="module")
def film(write_dicom):
    return read_grey(write_dicom(FILM, "plain.dcm", **WINDOW))


@pytest.mark.parametrize(
    "attributes",
    [
        {"BitsStored": None},
        {"BitsStored": 0},
        {"BitsStored": 17},
        {"BitsStored": 16, "HighBit": 11},
        {"BitsStored": 10, "HighBit": 9},  # the picture would wrap around
        {"HighBit": None},
        {"HighBit": 3},
        {"HighBit": 15},
        {"BitsAllocated": None},
        {"BitsAllocated": 12},
        {"PixelRepresentation": None},
        {"PixelRepresentation": 2},
        {"SamplesPerPixel": None},
        {"SamplesPerPixel": 0},
        {"SamplesPerPixel": 2},
        {"PhotometricInterpretation": None},
        {"PhotometricInterpretation": "monochrome2"},
        {"PhotometricInterpretation": "MONOCHROME 2"},
        {"NumberOfFrames": 0},
        {"NumberOfFrames": 99},
        {"PlanarConfiguration": 7},
        {"VOILUTFunction": "WHATEVER"},
    ],
)
def test_whole_numbers_and_names(write_dicom, film, attributes):
    path = write_dicom(FILM, "odd.dcm", **WINDOW | attributes)
    assert (read_grey(path) == film).all()


@pytest.mark.parametrize(
    ("keyword", "representation", "value"),
    [
        ("WindowCenter", "DS", b"2000,0"),
        ("WindowCenter", "DS", b"2000,0\\1800,5 "),
        ("WindowCenter", "DS", b"2,000.0 "),
        ("WindowCenter", "FL", struct.pack("<f", 2000)),
        ("WindowWidth", "DS", b"+3,0E3\0"),
        ("RescaleSlope", "DS", b"1,0 "),
        ("NumberOfFrames", "IS", b"1.0 "),
        ("NumberOfFrames", "IS", b"-1"),
        ("NumberOfFrames", "IS", b"one "),
        ("Rows", "DS", b"301.0 "),
        ("Columns", "IS", b"240 "),
        ("BitsStored", "IS", b"12"),
        ("StudyDate", "DA", b"notadate"),
        ("PixelSpacing", "DS", b"a\\b "),
        ("PatientName", "PN", b"\xff\xfe"),
        ("SpecificCharacterSet", "CS", b"NONSENSE"),
    ],
)
def test_what_is_spelt_unlike_the_standard(write_dicom, film, keyword, representation, value, tmp_path):
    path = write_dicom(FILM, "spelt.dcm", **WINDOW)
    rewrite(path, written(keyword, representation, value))
    assert (read_grey(path) == film).all()


def rewrite(path, element):
    """Put the bytes of an element into a file."""
    from pydicom import config, dcmread

    dataset = dcmread(path)
    dataset._dict[element.tag] = element
    modes = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.IGNORE
    try:
        dataset.save_as(path)
    finally:
        config.settings.reading_validation_mode, config.settings.writing_validation_mode = modes


def test_a_slope_with_a_comma_counts(write_dicom):
    window = {"WindowCenter": 4000, "WindowWidth": 7500, "bits": 12}
    plain = read_grey(write_dicom(FILM, "plain slope.dcm", RescaleSlope=2.5, RescaleIntercept=-1000.5, **window))
    path = write_dicom(FILM, "comma.dcm", RescaleIntercept=-1000.5, **window)
    rewrite(path, written("RescaleSlope", "DS", b"2,5 "))
    assert (read_grey(path) == plain).all()


@pytest.mark.parametrize("spelt", ["MONOCHROME 1", "Monochrome1", "MONOCHROME_1"])
def test_the_negative_is_known_by_any_spelling(write_dicom, film, spelt):
    path = write_dicom(FILM, "negative.dcm", PhotometricInterpretation=spelt, **WINDOW)
    assert np.abs(read_grey(path).astype(int) - (255 - film.astype(int))).max() <= 1


def test_without_a_photometric_interpretation_the_presentation_counts(write_dicom, film):
    attributes = {"PhotometricInterpretation": None, "PresentationLUTShape": "INVERSE"}
    path = write_dicom(FILM, "inverse.dcm", **WINDOW | attributes)
    assert np.abs(read_grey(path).astype(int) - (255 - film.astype(int))).max() <= 1


@pytest.mark.parametrize("bits", [9, 10, 11])
@pytest.mark.parametrize("shift", [0, 1])
def test_an_overlay_above_the_value_is_no_part_of_it(write_dicom, bits, shift):
    """The letters of an overlay make the picture rougher, missing bits of the value do as well."""
    pixels = (FILM >> (12 - bits)).astype(np.uint16)
    overlay = pixels.copy()
    overlay[20:40:2, 30:90:3] |= 1 << (bits + shift)
    clean = read_grey(write_dicom(pixels, "clean.dcm", bits=bits))
    assert (read_grey(write_dicom(overlay, "overlay.dcm", bits=bits)) == clean).all()


@pytest.mark.parametrize("bit", [12, 15])
@pytest.mark.parametrize("place", [np.s_[50:200, 50:200], np.s_[10:20, 10:40], np.s_[10:30:3, 10:60:2], np.s_[15:16]])
@pytest.mark.parametrize("noise", [0, 40])
def test_an_overlay_of_any_form_is_no_part_of_the_value(write_dicom, bit, place, noise):
    """A filled box has few edges, and its bit makes the range of all numbers larger."""
    film = np.clip(FILM + np.random.default_rng(0).normal(0, noise, FILM.shape), 0, 4095).astype(np.uint16)
    overlay = film.copy()
    overlay[place] |= 1 << bit
    clean = read_grey(write_dicom(film, "clean.dcm", bits=12))
    assert (read_grey(write_dicom(overlay, "overlay.dcm", bits=12)) == clean).all()


def test_padding_above_the_value_is_black(write_dicom):
    padded = FILM.copy()
    padded[:, :60] = 65_535
    grey = read_grey(write_dicom(padded, "padding above.dcm", PixelPaddingValue=65_535, **WINDOW))
    clean = read_grey(write_dicom(FILM, "no padding.dcm", **WINDOW))
    assert not grey[:, :60].any()
    assert (grey[:, 60:] == clean[:, 60:]).all()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"1,5", [1.5]),
        (b"1.234,5", [np.nan]),  # which of the two is the decimal sign is a guess
        (b"1,234.5", [1234.5]),
        (b" -2,5e1 \\x", [-25.0, np.nan]),
        (b"", [np.nan]),
        (b"12 HU", [np.nan]),
        (b"NaN", [np.nan]),
    ],
)
def test_numbers(text, numbers):
    dataset = Dataset()
    dataset._dict[Tag(tag_for_keyword("WindowCenter"))] = written("WindowCenter", "DS", text)
    found = read_numbers(dataset, "WindowCenter")
    np.testing.assert_equal(found or [np.nan], numbers)
    assert read_whole(dataset, "WindowCenter") == (int(numbers[0]) if numbers[0] in (-25.0,) else None)
