"""What a compressed stream says of itself is compared with the header, and refused before it costs memory or time."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate

from benchmarks.images import draw_image, write_dicom
from imaging.decode import SquareOptions, read_grey, read_square
from imaging.dicom import codecs
from imaging.dicom.codestream import JPEG_2000_START, MOST_SCANS
from imaging.errors import ImageError

IMAGE = draw_image(320, 240, seed=0)
OPTIONS = [SquareOptions(32), SquareOptions(32, reduced_jpeg_2000=True)]


def encode(pixels: np.ndarray, **options) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", level=0, reversible=True, **{"bitspersample": 12} | options
        )
    )


def tiled(pixels: np.ndarray, side: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", tile_size=(side, side), no_jp2=True, num_resolutions=1)
    return stream.getvalue()


def file_of(path: Path, stream: bytes, kind: str = "jpeg_2000", **attributes) -> Path:
    return write_dicom(path, IMAGE, kind, PixelData=encapsulate([stream]), **attributes)


def changed(stream: bytes, at: int, layout: str, *numbers: int) -> bytes:
    """The stream with other numbers in its SIZ marker segment, `at` bytes behind its marker."""
    at += len(JPEG_2000_START)
    value = struct.pack(layout, *numbers)
    return stream[:at] + value + stream[at + len(value) :]


def reason_of(path: Path, options: SquareOptions) -> str:
    start = time.process_time()
    with pytest.raises(ImageError) as caught:
        read_square(path, options)
    assert time.process_time() - start < 1
    return str(caught.value)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_stream_of_another_size_is_refused_in_both_ways(tmp_path, options):
    for number, shape in enumerate([(3000, 3000), (321, 240), (240, 320)]):
        path = file_of(tmp_path / str(number), encode(draw_image(*shape, seed=1)))
        assert (
            reason_of(path, options)
            == "unreadable_pixels: The compressed pixels have another size than the header says."
        )


@pytest.mark.parametrize("options", OPTIONS)
def test_a_cut_stream_is_refused_in_both_ways(tmp_path, options):
    stream = encode(IMAGE)
    path = file_of(tmp_path / "image", stream[: len(stream) // 2])
    assert reason_of(path, options).startswith("truncated_dicom")


TILES = {"one pixel": (1, 1), "a line": (240, 1), "tiny": (8, 8)}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("tile", TILES)
def test_a_stream_of_countless_tiles_is_refused(tmp_path, tile, options):
    pixels = draw_image(3000, 2000, seed=0) if tile == "a line" else IMAGE
    stream = changed(encode(pixels), 20, ">II", *TILES[tile])
    path = file_of(tmp_path / "image", stream, Rows=len(pixels), Columns=pixels.shape[1])
    assert "more tiles" in reason_of(path, options)


@pytest.mark.parametrize("side", [32, 64, 100])
def test_ordinary_tiles_are_read(tmp_path, side):
    pixels = (IMAGE >> 4).astype(np.uint8)
    eight_bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "WindowCenter": 128, "WindowWidth": 256}
    path = file_of(tmp_path / "image", tiled(pixels, side), **eight_bits)
    assert np.array_equal(read_grey(path), pixels)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("at", "layout", "numbers"),
    [
        (20, ">II", (0, 0)),  # size of a tile
        (28, ">II", (1, 1)),  # the first tile begins inside the image
        (12, ">IIIIII", (8, 8, 8, 8, 0, 0)),  # the image begins behind the first tile
        (36, ">H", (2,)),  # components
        (36, ">H", (0,)),
        (38, ">BBB", (0x8B, 2, 1)),  # samples at every second column
        (38, ">BBB", (11, 0, 0)),
        (38, ">BBB", (37, 1, 1)),  # 38 bits in a header of 16
        (4, ">II", (0, 0)),  # no image
        (0, ">H", (9,)),  # length of the marker segment
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path, at, layout, numbers, options):
    path = file_of(tmp_path / "image", changed(encode(IMAGE), at, layout, *numbers))
    assert reason_of(path, options).startswith("unreadable_pixels")


@pytest.mark.parametrize("options", OPTIONS)
def test_a_second_header_does_not_hide_the_one_that_is_decoded(tmp_path, options):
    decoy = encode(IMAGE)[: 4 + 41]
    box = struct.pack(">I4s", 8 + len(decoy), b"free") + decoy
    boxed = bytes(imagecodecs.jpeg2k_encode(draw_image(900, 800, 0), codecformat="jp2", level=0, reversible=True))
    path = file_of(tmp_path / "image", boxed[:12] + box + boxed[12:])
    assert "another size" in reason_of(path, options)


def test_jp2_boxes_are_read(tmp_path):
    boxed = bytes(imagecodecs.jpeg2k_encode(IMAGE, codecformat="jp2", level=0, reversible=True))
    path = file_of(tmp_path / "image", boxed, BitsStored=16, HighBit=15)
    plain = write_dicom(tmp_path / "plain", IMAGE, BitsStored=16, HighBit=15)
    assert np.array_equal(read_grey(path), read_grey(plain))
    assert "no readable header" in reason_of(file_of(tmp_path / "cut", boxed[:40]), OPTIONS[0])


def test_a_stream_without_lower_resolutions_is_decoded_in_full(tmp_path):
    path = file_of(tmp_path / "image", encode(IMAGE, resolutions=1))
    assert np.array_equal(*(read_square(path, options).pixels for options in OPTIONS))
    assert read_square(path, OPTIONS[0]).pixels.any()


@pytest.mark.parametrize("kind", ["jpeg_extended", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k"])
def test_a_stream_of_more_bits_than_are_allocated_is_refused(tmp_path, kind):
    path = write_dicom(tmp_path / "image", IMAGE, kind, BitsAllocated=8, BitsStored=8, HighBit=7)
    assert "more bits" in reason_of(path, OPTIONS[0])


def test_what_a_decoder_makes_of_another_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(codecs.imagecodecs, "jpegls_decode", lambda data: IMAGE[:-1])
    path = write_dicom(tmp_path / "image", IMAGE, "jpeg_ls")
    assert "another size" in reason_of(path, OPTIONS[0])


def progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are so many."""
    stream = io.BytesIO()
    Image.fromarray((IMAGE >> 4).astype(np.uint8)).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    last = content.rindex(b"\xff\xda")
    body = content[last:-2]
    return content[:last] + body * (scans - content.count(b"\xff\xda") + 1) + content[-2:]


@pytest.mark.parametrize("is_dicom", [False, True])
def test_a_jpeg_of_countless_scans_is_refused(tmp_path, is_dicom):
    for scans in (10, MOST_SCANS + 1, 5000):
        path = tmp_path / "image.jpg"
        path.write_bytes(progressive(scans))
        if is_dicom:
            depth = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
            path = file_of(tmp_path / "image.dcm", progressive(scans), "jpeg_extended", **depth)
        if scans > MOST_SCANS:
            assert "more scans" in reason_of(path, OPTIONS[0])
        else:
            assert read_grey(path).shape == IMAGE.shape


def test_a_png_with_texts_that_unpack_to_gigabytes_is_refused(tmp_path):
    import zlib

    path = tmp_path / "image.png"
    Image.fromarray((IMAGE >> 4).astype(np.uint8)).save(path)
    content = path.read_bytes()
    text = b"zTXtnote\0\0" + zlib.compress(bytes(200 << 20), 9)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + chunk + content[33:])
    assert reason_of(path, OPTIONS[0]).startswith("unreadable_pixels")
