"""JPG and PNG variants."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imaging import limits
from imaging.decode import read_grey
from imaging.errors import ImageError

GREY = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8) * 2


@pytest.fixture
def read(tmp_path):
    def of(image: Image.Image, kind: str = "PNG", **options) -> np.ndarray:
        path = tmp_path / "image.dcm"  # the name decides nothing
        image.save(path, kind, **options)
        return read_grey(path)

    return of


def test_grey_png_is_read_as_it_is(read):
    assert (read(Image.fromarray(GREY)) == GREY).all()


def test_jpg(read):
    assert np.abs(read(Image.fromarray(GREY), "JPEG", quality=98).astype(int) - GREY).max() <= 4


def test_colour_becomes_luminance(read):
    colour = np.dstack([GREY, GREY[::-1], np.full_like(GREY, 9)])
    expected = colour @ [0.299, 0.587, 0.114]
    assert np.abs(read(Image.fromarray(colour)) - expected).max() <= 1
    assert read(Image.fromarray(colour), "JPEG").shape == GREY.shape


def test_16_bits_are_stretched(read):
    deep = (GREY.astype(np.uint16) * 10) + 500
    expected = (deep - 500.0) / (deep.max() - 500) * 255
    assert np.abs(read(Image.fromarray(deep)) - expected).max() <= 1
    assert not read(Image.fromarray(np.full((4, 4), 700, np.uint16))).any()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_black(read, mode):
    image = Image.fromarray(GREY).convert(mode)
    image.putalpha(Image.fromarray(np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0)))
    result = read(image)
    assert (result[:, :30] == GREY[:, :30]).all()
    assert not result[:, 30:].any()


def test_palette_and_1_bit(read):
    assert np.abs(read(Image.fromarray(GREY).convert("P")).astype(int) - GREY).max() <= 1
    assert set(np.unique(read(Image.fromarray(GREY > 90)))) == {0, 255}


def test_exif_turns_the_image(read):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    turned = read(Image.fromarray(GREY), "JPEG", quality=98, exif=exif)
    assert turned.shape == (60, 40)
    assert np.abs(turned.astype(int) - np.rot90(GREY, -1)).max() <= 4


@pytest.mark.parametrize("exif", [b"garbage!", b"", b"MM\0*\0\0\0\x08\0\1\1\x12\0\2\0\0\0\4abc\0\0\0\0\0"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_that_cannot_be_read_counts_as_absent(tmp_path, exif, kind):
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, kind, quality=98)
    content = stream.getvalue()
    if kind == "PNG":
        at, part = 33, struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    else:
        at, part = 2, b"\xff\xe1" + struct.pack(">H", 8 + len(exif)) + b"Exif\0\0" + exif
    path = tmp_path / "image"
    path.write_bytes(content[:at] + part + content[at:])
    assert np.abs(read_grey(path).astype(int) - GREY).max() <= 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_cut_file(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)).save(stream, kind)
    content = stream.getvalue()
    for share in (0.4, 0.9):
        path = tmp_path / "image"
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ImageError) as caught:
            read_grey(path)
        assert caught.value.reason == "truncated_image"


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_text_behind_the_magic_bytes(tmp_path, magic):
    path = tmp_path / "image.jpg"
    path.write_bytes(magic + b"FINDINGS: The lungs are clear." * 20)
    with pytest.raises(ImageError) as caught:
        read_grey(path)
    assert caught.value.reason == "unreadable_pixels"
    assert "FINDINGS" not in str(caught.value)


def test_decompression_bomb(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    Image.new("L", (10, 10)).save(path)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = path.read_bytes()
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(ImageError) as caught:
        read_grey(path)
    assert caught.value.reason == "image_too_large"
    monkeypatch.setattr(limits, "MAXIMUM_PIXELS", 99)
    Image.new("L", (10, 10)).save(path)
    with pytest.raises(ImageError, match="image_too_large"):
        read_grey(path)
