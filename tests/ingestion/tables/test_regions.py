"""Mask files are decoded in processes of their own: a hostile one is named, and nothing else is lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from benchmarks.images import draw_image, write_dicom
from imaging import decode, pool
from imaging.errors import MachineError
from imaging.letterbox import letterbox_mask
from ingestion.tables.regions import make_regions

SIZE = 16
SHAPES = {"a": (60, 40), "b": (60, 40), "c": (60, 40)}
# A worker whose decoder of masks does what the file's name says.
MISCHIEF = """
import os, signal, time
from imaging import decode, worker
def read(path, options):
    if path.name == "divides.png": os.kill(os.getpid(), signal.SIGFPE)
    if path.name == "ended.png": os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "bloats.png": bytearray(2 << 30)
    return decode.read_mask(path, options)
worker.read_mask = read
worker.main()
"""


@pytest.fixture
def values(tmp_path):
    """The grey levels of every mask file in the archive."""
    values = np.zeros((60, 40), np.uint8)
    values[10:30, 5:25] = 200
    for name in ("good", "divides", "ended", "bloats"):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    return values


def study(image: str, file: str) -> dict:
    mask = {"label": "nodule", "path": file, "threshold": 127}
    return {"image_id": image, "image_path": f"{image}.png", "labels": None, "masks": [mask], "shapes": None}


def is_mask(row: dict, mask: np.ndarray, squash: bool = False) -> bool:
    bits = np.unpackbits(np.frombuffer(row["bits"], np.uint8), count=SIZE * SIZE).reshape(SIZE, SIZE)
    return bool((bits == letterbox_mask(mask, SIZE, squash)).all())


def test_a_mask_that_kills_its_decoder_is_named_and_the_others_are_there(tmp_path, values, monkeypatch):
    monkeypatch.setattr(pool, "WORKER", ("-c", MISCHIEF))
    studies = [study("a", "divides.png"), study("b", "good.png"), study("c", "bloats.png")]
    crashed, good, large = make_regions(studies, tmp_path, SIZE, SHAPES).to_pylist()
    assert is_mask(good, values > 127)
    assert crashed["bits"] is large["bits"] is None
    assert crashed["error"].startswith(f"The file divides.png under {tmp_path} cannot be read: The decoder crashed")
    assert "bloats.png" in large["error"]


HOSTILE = {  # kind of codestream, a marker in it, and what is written where behind it
    "tiles of no size": ("jpeg_2000", b"\xff\x4f\xff\x51", 20, struct.pack(">II", 0, 0)),
    "a tile that is none of the image": ("htj2k", b"\xff\x90", 2, struct.pack(">H", 256)),  # a segmentation fault
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_codestream_that_was_made_to_crash_is_named(tmp_path, values, fault):
    kind, marker, at, value = HOSTILE[fault]
    path = write_dicom(tmp_path / "image.dcm", draw_image(60, 40, seed=0), kind)
    content = path.read_bytes()
    at += content.index(marker) + len(marker)
    path.write_bytes(content[:at] + value + content[at + len(value) :])
    hostile, good = make_regions([study("a", path.name), study("b", "good.png")], tmp_path, SIZE, SHAPES).to_pylist()
    assert path.name in hostile["error"]
    assert is_mask(good, values > 127)


def test_a_mask_of_another_shape_than_its_image_is_named(tmp_path, values):
    Image.fromarray(values.T).save(tmp_path / "turned.png")
    Image.fromarray(np.repeat(np.repeat(values, 2, 0), 2, 1)).save(tmp_path / "finer.png")
    Image.fromarray(values[:, :39]).save(tmp_path / "narrower.png")
    studies = [study("a", "turned.png"), study("b", "finer.png"), study("c", "narrower.png")]
    turned, finer, narrower = make_regions(studies, tmp_path, SIZE, SHAPES).to_pylist()
    assert turned["error"].endswith("The mask has 40 x 60 pixels and its image 60 x 40, of another shape.")
    assert is_mask(finer, values > 127)
    assert narrower["error"] is None


def test_no_mask_is_decoded_in_this_process(tmp_path, values, monkeypatch):
    monkeypatch.setattr(decode, "_read", lambda *given: pytest.fail("a file of the archive was decoded here"))
    (row,) = make_regions([study("a", "good.png")], tmp_path, SIZE, SHAPES).to_pylist()
    assert is_mask(row, values > 127)


def test_what_the_machine_causes_ends_the_run(tmp_path, values, monkeypatch):
    monkeypatch.setattr(pool, "WORKER", ("-c", MISCHIEF))
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 0.01)
    with pytest.raises(MachineError, match=r"ended by SIGKILL .*ended\.png"):
        make_regions([study("a", "ended.png"), study("b", "good.png")], tmp_path, SIZE, SHAPES)


@pytest.mark.parametrize("squash", [False, True])
def test_masks_and_outlines_are_squashed_as_the_images_were(tmp_path, values, squash):
    outline = {"label": "mass", "kind": "rectangle", "points": [5, 10, 25, 30]}
    studies = [study("a", "good.png"), {**study("b", "good.png"), "masks": None, "shapes": [outline]}]
    drawn = make_regions(studies, tmp_path, SIZE, SHAPES, squash=squash).to_pylist()
    for row in drawn:
        assert is_mask(row, values > 127, squash)
        assert not is_mask(row, values > 127, not squash)
