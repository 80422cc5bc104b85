"""Files that are not what they claim: each has its reason, none crashes, and no message quotes them."""

from __future__ import annotations

import contextlib
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from imaging import limits
from imaging.decode import read_grey
from imaging.errors import REASONS, ImageError

# pytest lays its own warning filters over those of imaging.dicom.reader, which test_nothing_is_printed checks.
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
REPOSITORY = Path(__file__).resolve().parents[2]
READ_ALL = """
import pathlib, sys
from imaging.decode import read_grey
from imaging.errors import ImageError
for path in sys.argv[1:]:
    try:
        read_grey(pathlib.Path(path))
    except ImageError as error:
        print(error.reason)
"""
REPORT = b"FINDINGS: The heart is normal in size. The lungs are clear.\n"


def reason_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_grey(path)
    assert "Identifying" not in str(caught.value)
    assert caught.value.reason in REASONS
    assert caught.value.detail.endswith(".")
    return caught.value.reason


@pytest.fixture
def image(write_dicom) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 48), dtype=np.uint16)
    return write_dicom(pixels, bits=12, WindowCenter=2000, WindowWidth=4000).read_bytes()


@pytest.fixture
def reason(tmp_path):
    def of(content: bytes) -> str:
        path = tmp_path / "image.dcm"
        path.write_bytes(content)
        return reason_of(path)

    return of


def test_missing(tmp_path):
    assert reason_of(tmp_path / "absent.dcm") == "missing_file"
    assert reason_of(tmp_path) == "missing_file"
    (tmp_path / "file").touch()
    assert reason_of(tmp_path / "file" / "below.dcm") == "missing_file"


def test_not_an_image(reason):
    assert reason(b"") == "not_an_image"
    assert reason(REPORT * 40) == "not_an_image"
    assert reason(bytes(128) + b"DICM" + REPORT * 40) == "not_an_image"
    assert reason(bytes(128) + b"DICM") == "not_an_image"
    assert reason(bytes(5000)) == "not_an_image"
    assert reason(b"\x08\x00" + REPORT) == "not_an_image"


def test_random_bytes_behind_the_preamble(reason):
    noise = random.Random(0)
    for length in range(0, 3000, 97):
        assert reason(bytes(128) + b"DICM" + noise.randbytes(length)) == "not_an_image"


def test_cut_anywhere_in_the_pixels(reason, image):
    start = len(image) - 64 * 48 * 2
    for end in (start, start + 1, start + 2000, len(image) - 1):
        assert reason(image[:end]) == "truncated_dicom"


def test_cut_in_the_header(reason, image):
    reasons = [reason(image[:end]) for end in range(140, len(image) - 64 * 48 * 2, 3)]
    assert set(reasons) <= {"truncated_dicom", "no_pixels"}  # a cut between two elements leaves a whole file
    assert reasons.count("truncated_dicom") > 0.9 * len(reasons)


def test_rows_that_promise_more_than_there_is(reason, write_dicom):
    assert reason(write_dicom(np.ones((8, 8), np.uint16), Rows=9).read_bytes()) == "truncated_dicom"


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg_dcmtk.dcm"])
def test_cut_compressed_pixels(reason, name):
    content = Path(get_testdata_file(name, download=False)).read_bytes()
    for share in (0.6, 0.8, 0.9):
        assert reason(content[: int(len(content) * share)]) == "truncated_dicom"


def test_no_pixels(reason, write_dicom):
    assert reason(write_dicom(np.ones((8, 8), np.uint16), PixelData=None).read_bytes()) == "no_pixels"
    assert reason(write_dicom(np.ones((8, 8), np.uint16), PixelData=b"").read_bytes()) == "no_pixels"
    for name in ("rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm"):
        assert reason_of(Path(get_testdata_file(name, download=False))) == "no_pixels"


def test_compression_that_no_radiograph_uses(reason):
    content = Path(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm", download=False)).read_bytes()
    assert content.count(JPEGBaseline8Bit.encode()) == 1
    retired = b"1.2.840.10008.1.2.4.52"  # JPEG Extended, processes 3 and 5
    assert reason(content.replace(JPEGBaseline8Bit.encode(), retired)) == "unsupported_transfer_syntax"


def test_attributes_that_contradict_each_other(reason, write_dicom):
    pixels = np.ones((8, 8), np.uint16)
    for attributes in ({"Rows": None}, {"Columns": 0}):
        found = reason(write_dicom(pixels.astype(np.uint8)[:, :7], **attributes).read_bytes())
        assert found in {"unreadable_pixels", "no_pixels", "truncated_dicom"}


def test_more_pixels_than_a_radiograph_has(reason, write_dicom, monkeypatch):
    monkeypatch.setattr(limits, "MAXIMUM_PIXELS", 63)
    assert reason(write_dicom(np.ones((8, 8), np.uint16)).read_bytes()) == "image_too_large"


def test_no_image_without_rows(reason, write_dicom):
    assert reason(write_dicom(np.ones((8, 8), np.uint16), Rows=0).read_bytes()) == "unreadable_pixels"


def test_flipped_bytes_never_crash(image, tmp_path):
    noise = random.Random(1)
    path = tmp_path / "flipped.dcm"
    for _ in range(200):
        content = bytearray(image)
        for _ in range(noise.randint(1, 8)):
            content[noise.randrange(132, len(image) - 64 * 48 * 2 + 10)] = noise.randrange(256)
        path.write_bytes(content)
        with contextlib.suppress(ImageError):
            assert read_grey(path).dtype == np.uint8


def test_nothing_is_printed(image, tmp_path):
    path = tmp_path / "p10000032" / "image.dcm"
    path.parent.mkdir()
    path.write_bytes(image[:-100])
    (tmp_path / "rle.dcm").write_bytes(Path(get_testdata_file("MR_small_RLE.dcm", download=False)).read_bytes()[:-500])
    command = [sys.executable, "-c", READ_ALL, str(path), str(tmp_path / "rle.dcm")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["truncated_dicom", "truncated_dicom"], "")


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(ImageError("no_pixels")))
    assert (error.reason, error.detail) == ("no_pixels", REASONS["no_pixels"])
