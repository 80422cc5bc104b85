"""Files made to hurt: bombs, lying lengths and sizes, endless nesting; and a few hundred damaged at random."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian

from benchmarks import damaged_files
from benchmarks.images import draw_image, write_dicom
from imaging.decode import read_grey
from imaging.dicom.codestream import describe_jpeg, describe_jpeg_2000
from imaging.dicom.fragments import first_frame
from imaging.errors import REASONS, ImageError

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = draw_image(64, 48, seed=0)


def reason_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_grey(path)
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_damaged_at_random():
    command = [sys.executable, "-m", "benchmarks.mutations", "--files", "300", "--seed", "7"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)  # alone, as it measures memory
    assert (done.returncode, done.stderr) == (0, "")
    counts = dict(reversed(line.split()) for line in done.stdout.splitlines() if line.split()[0].isdigit())
    assert sum(map(int, counts.values())) == 300
    assert int(counts["decoded"]) > 30
    assert len(counts) >= 5


def test_a_mutation_is_the_same_every_time(tmp_path):
    files = [b"abcdefgh" * 40, bytes(500)]
    assert [damaged_files.mutate(files, 1, n) for n in range(99)] == [
        damaged_files.mutate(files, 1, n) for n in range(99)
    ]
    assert damaged_files.mutate(files, 1, 4) != damaged_files.mutate(files, 2, 4)


def test_deflated_bomb(tmp_path):
    whole = write_dicom(tmp_path / "image", IMAGE, "deflated").read_bytes()
    end = 144 + int.from_bytes(whole[140:144], "little")
    header = zlib.decompressobj(-15).decompress(whole[end:])
    bomb = zlib.compressobj(9, wbits=-15)
    path = tmp_path / "bomb"
    with open(path, "wb") as stream:
        stream.write(whole[:end] + bomb.compress(header))
        for _ in range(300):
            stream.write(bomb.compress(bytes(1 << 20)))
        stream.write(bomb.flush())
    assert path.stat().st_size < 1 << 20
    assert reason_of(path) == "too_much_memory"


def test_cut_deflated_file(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE, "deflated")
    assert DeflatedExplicitVRLittleEndian.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes()[:-200])
    assert reason_of(path) == "truncated_dicom"


@pytest.mark.parametrize("kind", ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k"])
def test_stream_that_unpacks_to_more_than_the_header_says(kind, tmp_path):
    large = write_dicom(tmp_path / "image", draw_image(640, 480, seed=0), kind)
    content = large.read_bytes()
    rows, columns = (struct.pack("<HH2sHH", 0x28, tag, b"US", 2, size) for tag, size in ((0x10, 640), (0x11, 480)))
    assert rows in content
    small = content.replace(rows, rows[:-2] + b"\x40\0").replace(columns, columns[:-2] + b"\x30\0")
    large.write_bytes(small)
    assert reason_of(large) == "unreadable_pixels"


def test_rle_that_unpacks_to_less_or_more_than_the_header_says(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE, "rle")
    content = path.read_bytes()
    rows = struct.pack("<HH2sHH", 0x28, 0x10, b"US", 2, 64)
    for size in (63, 65, 8000):
        path.write_bytes(content.replace(rows, rows[:-2] + struct.pack("<H", size)))
        assert reason_of(path) in {"unreadable_pixels", "truncated_dicom"}


@pytest.mark.parametrize("tag", [b"\x08\x00\x70\x00LO", b"\x08\x00\x80\x00UT\0\0", b"\x09\x00\x10\x10OB\0\0"])
def test_enormous_length(tag, tmp_path):
    content = write_dicom(tmp_path / "image", IMAGE).read_bytes()
    at = content.index(b"\x10\x00\x10\x00PN")
    path = tmp_path / "long"
    path.write_bytes(content[:at] + tag + b"\xf0\xff\xff\x7f" + content[at:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reason_of(path) in {"truncated_dicom", "unreadable_pixels"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_sequences_in_sequences(tmp_path):
    content = write_dicom(tmp_path / "image", IMAGE).read_bytes()
    at = content.index(b"\x28\x00\x02\x00")
    path = tmp_path / "nested"
    for depth in (3, 500, 100_000):
        path.write_bytes(content[:at] + damaged_files.NEST * depth + content[at:])
        assert reason_of(path) in {"truncated_dicom", "unreadable_pixels", "no_pixels"}


def test_fragment_that_leads_out_of_the_file(tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE, "jpeg_ls")
    content = bytearray(path.read_bytes())
    item = content.rindex(damaged_files.ITEM)
    for length, expected in (
        (0xFFFFFFFF, "truncated_dicom"),
        (0x7FFFFFFF, "truncated_dicom"),
        (4, "unreadable_pixels"),
    ):
        content[item + 4 : item + 8] = struct.pack("<I", length)
        path.write_bytes(content)
        assert reason_of(path) == expected


def test_stream_without_its_end(tmp_path):
    stream = bytes(imagecodecs.jpeg8_encode(IMAGE, lossless=True, bitspersample=12))
    path = write_dicom(tmp_path / "image", IMAGE, "jpeg_lossless", PixelData=encapsulate([stream[: len(stream) // 2]]))
    assert reason_of(path) == "truncated_dicom"


@settings(max_examples=200, deadline=None)
@given(value=st.binary(max_size=200), frames=st.integers(0, 5))
def test_fragments_of_anything(value, frames):
    for content in (value, damaged_files.ITEM + value, damaged_files.ITEM + bytes(4) + damaged_files.ITEM + value):
        with contextlib.suppress(ImageError):  # and nothing else
            assert len(first_frame(memoryview(content), frames)) <= len(content)


@settings(max_examples=200, deadline=None)
@given(value=st.binary(max_size=100))
def test_stream_headers_of_anything(value):
    for describe, start in ((describe_jpeg, b"\xff\xd8"), (describe_jpeg_2000, b"\xff\x4f\xff\x51")):
        for content in (value, start + value):
            with contextlib.suppress(ImageError):  # and nothing else
                assert describe(content).samples >= 0


def test_stream_headers_of_images():
    jpeg = bytes(imagecodecs.jpeg8_encode(IMAGE, lossless=True, bitspersample=12))
    stream = describe_jpeg(b"\xff\xd8\xff\xff\xfe\0\x04ab" + jpeg[2:])  # a fill byte and a comment
    assert (stream.height, stream.width, stream.samples, stream.bits, stream.is_lossless_jpeg) == (64, 48, 1, 12, True)
    boxed = bytes(imagecodecs.jpeg2k_encode(IMAGE.astype(np.int16), codecformat="jp2", level=0))
    stream = describe_jpeg_2000(boxed)
    assert (stream.height, stream.width, stream.samples, stream.signed) == (64, 48, 1, True)


def test_files_damaged_on_purpose():
    for name in ("JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm"):
        assert reason_of(Path(str(get_testdata_file(name, download=False)))) in {"unreadable_pixels", "truncated_dicom"}


def test_many_tiny_elements(tmp_path):
    content = write_dicom(tmp_path / "image", IMAGE).read_bytes()
    at = content.index(b"\x28\x00\x02\x00")
    elements = io.BytesIO()
    for number in range(60_000):
        elements.write(struct.pack("<HH2sH", 0x0009 + 2 * (number >> 15), 0x1000 + (number & 0x7FFF), b"LO", 0))
    path = tmp_path / "many"
    path.write_bytes(content[:at] + elements.getvalue() + content[at:])
    assert read_grey(path).shape == IMAGE.shape
