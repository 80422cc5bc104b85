"""Whole image files of every kind, what they show, and how they are damaged: bits, lengths, tags, sizes, fragments.

What a specimen shows is not decoded by `imaging`. It is the image that was written, or what pydicom makes of the file.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

from benchmarks.images import COMPRESSIONS, WINDOW, draw_image, write_dicom

BUNDLED = (  # with pydicom: colour, palette, several frames, sequences, other makers' files
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_palette.dcm",
    "JPGExtended.dcm",
    "693_J2KI.dcm",
    "image_dfl.dcm",
    "CT_small.dcm",
)
HEADER = 1500  # bytes; the tags of a DICOM, the markers of a JPG and the chunks of a PNG are among them
LENGTHS = (0, 1, 2, 0xFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
SIZE_TAGS = tuple(struct.pack("<HH2sH", 0x28, element, b"US", 2) for element in (0x10, 0x11, 0x02, 0x100, 0x101, 0x102))
STREAM_MARKERS = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7", b"\xff\x51", b"\xff\x52", b"\xff\xda", b"IHDR")
ITEM = b"\xfe\xff\x00\xe0"
NEST = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + ITEM + b"\xff\xff\xff\xff"  # sequence in sequence, never closed

LUMINANCE = (0.299, 0.587, 0.114)
ONLY_GDCM = "JPGExtended.dcm"  # pydicom has no decoder for it
ROUNDING = 1.5  # grey levels
JPG_ERROR = 4.0  # grey levels
LEAST_CORRELATION = 0.99
LEAST_SPREAD = 10.0  # standard deviation of what a specimen shows, grey levels

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], None]


@dataclass(frozen=True)
class Specimen:
    """A whole file, the grey image (height, width) that it shows, and how far its grey levels may be off.

    Without a tolerance the scale of the image is not known. Without an image nothing but its own decoder reads it.
    """

    name: str
    content: bytes
    image: np.ndarray | None = None
    tolerance: float | None = None

    def find_fault(self, square: np.ndarray) -> str:
        """What is wrong with a decoded and letterboxed image of it, (size, size) uint8; empty if nothing is."""
        if square.std() < LEAST_SPREAD:
            return f"{self.name} is one grey"
        if self.image is None:
            return ""
        expected, inside = _fit(self.image, len(square))
        found = square[inside].astype(float)
        if np.corrcoef(found.ravel(), expected.ravel())[0, 1] < LEAST_CORRELATION:
            return f"{self.name} shows something else"
        if self.tolerance is not None and np.abs(found - expected).max() > self.tolerance:
            return f"{self.name} is {np.abs(found - expected).max():.1f} grey levels off"
        return ""


def specimens(folder: Path) -> list[Specimen]:
    """One whole file of every kind."""
    image = draw_image(96, 80, seed=0)
    low = WINDOW["WindowCenter"] - WINDOW["WindowWidth"] / 2
    shown = np.clip((image - low) / (WINDOW["WindowWidth"] - 1), 0, 1) * 255
    files = []
    for kind, compression in COMPRESSIONS.items():
        content = write_dicom(folder / kind, image, kind).read_bytes()
        error = ROUNDING + compression.error / WINDOW["WindowWidth"] * 255
        files.append(Specimen(kind, content, shown, error))
    for name, kind, options in (
        ("jpg", "JPEG", {"quality": 92}),
        ("progressive jpg", "JPEG", {"quality": 92, "progressive": True}),
        ("png", "PNG", {}),
    ):
        path = folder / name
        Image.fromarray((image >> 4).astype(np.uint8)).save(path, kind, **options)
        error = ROUNDING + (0 if kind == "PNG" else JPG_ERROR)
        files.append(Specimen(name, path.read_bytes(), (image >> 4).astype(float), error))
    for name in BUNDLED:
        path = Path(str(get_testdata_file(name, download=False)))
        files.append(Specimen(name, path.read_bytes(), None if name == ONLY_GDCM else _shown_by_pydicom(path)))
    return files


def mutate(files: Sequence[bytes], seed: int, number: int) -> bytes:
    """File `number` of a seed."""
    rng = random.Random(f"{seed}:{number}")
    content = bytearray(files[number % len(files)])
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(MUTATIONS)(content, rng, files)
    return bytes(content)


def _shown_by_pydicom(path: Path) -> np.ndarray:
    dataset = pydicom.dcmread(path)
    frame = dataset.pixel_array
    frame = frame[0] if int(dataset.get("NumberOfFrames") or 1) > 1 else frame
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, dataset)
    if frame.ndim == 3:
        return np.asarray(frame[..., :3] @ LUMINANCE, float)
    return np.asarray(apply_voi_lut(apply_modality_lut(frame, dataset), dataset), float)


def _fit(image: np.ndarray, size: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """An image scaled into a square of `size`, and where in the square it lies."""
    longer = max(image.shape)
    height, width = (max(1, round(length * size / longer)) for length in image.shape)
    top, left = (size - height) // 2, (size - width) // 2
    scaled = cv2.resize(image.astype(np.float64), (width, height), interpolation=cv2.INTER_AREA)
    return scaled, (slice(top, top + height), slice(left, left + width))


def _flip_bits(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    end = rng.choice((HEADER, len(content)))
    for _i in range(rng.choice((1, 4, 32))):
        content[_position(content, rng, end)] ^= 1 << rng.randrange(8)


def _truncate(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    del content[_position(content, rng) :]
    content += b"\0" * rng.choice((0, 0, 1))


def _lie_about_a_length(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    value = (
        struct.pack(rng.choice(("<I", ">I", "<H", ">H")), rng.choice(LENGTHS) & 0xFFFF) if rng.random() < 0.5 else b""
    )
    value = value or struct.pack(rng.choice(("<I", ">I")), rng.choice(LENGTHS))
    at = content.rfind(ITEM) + 4 if rng.random() < 0.2 else _position(content, rng, HEADER)
    content[at : at + len(value)] = value


def _lie_about_the_size(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = content.find(rng.choice(SIZE_TAGS))
    if at >= 0:
        content[at + 8 : at + 10] = struct.pack("<H", rng.choice((0, 1, 3, 7, 255, 8000, 9000, 65535)))


def _damage_the_stream_header(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = content.find(rng.choice(STREAM_MARKERS))
    if at >= 0:
        at += rng.randrange(2, 44)
        value = struct.pack(rng.choice((">H", ">I")), rng.choice((0, 1, 0x7FFF, 0xFFFF)))
        content[at : at + len(value)] = value


def _swap_slices(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    length = rng.choice((8, 10, 16, 64))
    one, other = (_position(content, rng, HEADER) for _i in range(2))
    content[one : one + length], content[other : other + length] = (
        content[other : other + length],
        content[one : one + length],
    )


def _splice(content: bytearray, rng: random.Random, files: Sequence[bytes]) -> None:
    donor = rng.choice(files)
    start = rng.randrange(len(donor))
    at = _position(content, rng, rng.choice((HEADER, len(content))))
    piece = donor[start : start + rng.choice((16, 200, 5000))]
    content[at : at + rng.choice((0, len(piece)))] = piece


def _overwrite_with_noise(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = _position(content, rng)
    length = rng.choice((4, 32, 400))
    content[at : at + length] = rng.randbytes(length)


def _remove(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = _position(content, rng, rng.choice((HEADER, len(content))))
    del content[at : at + rng.choice((1, 2, 8, 100))]


def _nest_deeply(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = content.find(b"\x28\x00\x02\x00")
    if at >= 0:
        content[at:at] = NEST * rng.choice((3, 200, 20_000))


def _replace_the_syntax(content: bytearray, rng: random.Random, _: Sequence[bytes]) -> None:
    at = content.find(b"1.2.840.10008.1.2")
    if at >= 0:
        length = content[at - 2]
        other = rng.choice(list(COMPRESSIONS.values())).syntax.encode()
        content[at : at + length] = other[:length].ljust(length, b"\0")


MUTATIONS: tuple[Mutation, ...] = (
    _flip_bits,
    _truncate,
    _lie_about_a_length,
    _lie_about_the_size,
    _damage_the_stream_header,
    _swap_slices,
    _splice,
    _overwrite_with_noise,
    _remove,
    _nest_deeply,
    _replace_the_syntax,
)


def _position(content: bytearray, rng: random.Random, end: int = sys.maxsize) -> int:
    """A place in the content, which is made one byte long if it is empty."""
    if not content:
        content.append(0)
    return rng.randrange(max(1, min(end, len(content))))
