"""Stored values of every transfer syntax, bit by bit, against other decoders."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended

from benchmarks.images import COMPRESSIONS, draw_image, write_dicom
from imaging.decode import read_grey
from imaging.dicom.fragments import first_frame
from imaging.dicom.reader import codecs
from tests.imaging.independent import gdcm_values, our_values

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
IMAGE = draw_image(120, 97, seed=3)
UNREADABLE = {  # damaged on purpose by pydicom's authors
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "MR_truncated.dcm",
    "badVR.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
}
ONLY_GDCM = {"JPEG-lossy.dcm", "JPGExtended.dcm"}  # 12-bit JPEG: pydicom has no decoder for it
NOT_GDCM = {  # where GDCM is wrong or gives another form: sign of the codestream, 16-bit colour RLE, 1 and 32 bits
    "J2K_pixelrep_mismatch.dcm",
    *("SC_rgb_rle_16bit.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_rle_32bit.dcm", "SC_rgb_rle_32bit_2frame.dcm"),
    *("liver_1frame.dcm", "liver_expb_1frame.dcm"),
}


def bundled() -> list[str]:
    """Files of pydicom's wheel that hold pixels."""
    names = []
    for path in sorted(TEST_FILES.rglob("*")):
        if path.is_file() and path.name not in UNREADABLE and path.suffix not in {".py", ".json"}:
            try:
                dataset = pydicom.dcmread(path, stop_before_pixels=True)
            except Exception:  # not a DICOM file
                continue
            if "Rows" in dataset and "BitsAllocated" in dataset and "waveform" not in path.name:
                names.append(str(path.relative_to(TEST_FILES)))
    return names


def raw(path: Path) -> np.ndarray:
    """First frame by pydicom, colour as it is stored."""
    dataset = pydicom.dcmread(path)
    dataset.pixel_array_options(index=0, raw=True)
    return dataset.pixel_array


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal, or ours is the luminance of their YBR."""
    return np.array_equal(ours, theirs[..., 0] if theirs.ndim > ours.ndim else theirs)


@pytest.mark.parametrize("name", bundled())
def test_bundled_files_hold_the_same_values_for_others(name):
    path = TEST_FILES / name
    ours = our_values(path)
    if name not in ONLY_GDCM:
        assert same(ours, raw(path))
    if name not in NOT_GDCM and ours.itemsize <= 2 and ours.dtype.kind in "iu":
        assert same(ours, gdcm_values(path))


def test_real_images_hold_the_same_values_for_gdcm(shared_data):
    for path in sorted((shared_data / "dicom_samples").glob("*/*.dcm")):
        assert np.array_equal(our_values(path), gdcm_values(path)), path.name


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_every_syntax_gives_back_the_image(kind, tmp_path):
    path = write_dicom(tmp_path / "image", IMAGE, kind)
    ours = our_values(path)
    assert ours.dtype == np.uint16
    assert np.abs(ours.astype(int) - IMAGE).max() <= COMPRESSIONS[kind].error
    if kind != "htj2k":
        assert np.array_equal(ours, gdcm_values(path))


def test_two_libraries_agree_on_htj2k():
    stream = imagecodecs.htj2k_encode(IMAGE, reversible=True)
    assert np.array_equal(imagecodecs.htj2k_decode(stream), imagecodecs.jpeg2k_decode(stream))


@pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
@pytest.mark.parametrize(
    "kind", ["explicit", "big_endian", "rle", "jpeg_lossless_sv1", "jpeg_ls", "jpeg_2000", "htj2k"]
)
def test_every_depth_with_and_without_sign(kind, bits, tmp_path, monkeypatch):
    rng = np.random.default_rng(bits)
    pixels = rng.integers(0, 1 << bits, (33, 21), dtype=np.uint16)
    encoders = {
        "jpeg_lossless_sv1": lambda image: imagecodecs.jpeg8_encode(image, lossless=True, bitspersample=bits),
        "jpeg_2000": lambda image: imagecodecs.jpeg2k_encode(
            image, codecformat="j2k", level=0, reversible=True, bitspersample=bits
        ),
    }
    encode = encoders.get(kind)
    attributes = {"PixelData": encapsulate([bytes(encode(pixels))])} if encode else {}
    for signed in (0, 1):
        depth = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed}
        path = write_dicom(tmp_path / f"{signed}", pixels & 0xFFF if encode else pixels, kind, **depth, **attributes)
        expected = pixels.astype(int)
        if signed:
            expected = np.where(expected >= 1 << (bits - 1), expected - (1 << bits), expected)
        assert np.array_equal(our_values(path), expected)


def several(path: Path, frames: list[np.ndarray], table: bool, extended: bool = False) -> Path:
    streams = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]
    if not extended:
        return write_dicom(
            path, frames[0], "jpeg_ls", NumberOfFrames=len(frames), PixelData=encapsulate(streams, has_bot=table)
        )
    data, offsets, lengths = encapsulate_extended(streams)
    tables = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths}
    return write_dicom(path, frames[0], "jpeg_ls", NumberOfFrames=len(frames), PixelData=data, **tables)


def test_first_of_several_compressed_frames(tmp_path):
    frames = [draw_image(40, 30, seed) for seed in range(3)]
    for number, options in enumerate(({"table": True}, {"table": False}, {"table": True, "extended": True})):
        assert np.array_equal(our_values(several(tmp_path / str(number), frames, **options)), frames[0])


@pytest.mark.parametrize("has_table", [False, True])
def test_frames_in_several_fragments(has_table):
    streams = [bytes(imagecodecs.jpegls_encode(draw_image(40, 30, seed))) for seed in range(3)]
    value = memoryview(encapsulate(streams, fragments_per_frame=3, has_bot=has_table))
    assert first_frame(value, 3).rstrip(b"\0") == streams[0].rstrip(b"\0")
    alone = memoryview(encapsulate(streams[:1], fragments_per_frame=4, has_bot=has_table))
    assert first_frame(alone, 1).rstrip(b"\0") == streams[0].rstrip(b"\0")


def test_delimiter_among_compressed_bytes_ends_nothing():
    stream = b"\xff\xd8" + b"\xfe\xff\xdd\xe0\0\0\0\0" * 3 + b"\xff\xd9"
    assert first_frame(memoryview(encapsulate([stream])), 1) == stream


def test_reduced_jpeg_2000_keeps_sign_and_depth():
    image = draw_image(512, 400, seed=1)
    for pixels in (image, image.astype(np.int16) - 2000):
        stream = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", level=0, reversible=True))
        layout = codecs.Layout(512, 400, 1, 2, "MONOCHROME2")
        reduced = codecs.decode(stream, uid.JPEG2000Lossless, layout, reduced_to=60)
        assert reduced.shape == (128, 100)
        blocks = pixels.reshape(128, 4, 100, 4).mean((1, 3))
        assert np.abs(reduced.view(pixels.dtype) - blocks).mean() < 30
        assert np.array_equal(codecs.decode(stream, uid.JPEG2000Lossless, layout, reduced_to=300), pixels)


def test_modality_lut_of_a_big_endian_file(tmp_path):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096)[::-1].astype(">u2").tobytes())
    item.ModalityLUTType = "US"
    path = write_dicom(tmp_path / "image", IMAGE, "big_endian", ModalityLUTSequence=[item])
    plain = write_dicom(tmp_path / "plain", 4095 - IMAGE, "explicit")
    assert np.array_equal(read_grey(path), read_grey(plain))


def test_padding_written_unsigned_for_signed_pixels(tmp_path):
    pixels = IMAGE.copy()
    pixels[:, :10] = np.array(-2000, np.int16).view(np.uint16)
    path = write_dicom(
        tmp_path / "image",
        pixels,
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
        WindowCenter=None,
        WindowWidth=None,
    )
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    dataset.save_as(path)
    grey = read_grey(path)
    assert not grey[:, :10].any()
    assert grey.max() == 255
