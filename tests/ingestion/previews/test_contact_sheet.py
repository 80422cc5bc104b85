"""People see what a network will see, doubtful images first."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imaging.decode import DecodedImage, SquareOptions, read_square
from imaging.letterbox import letterbox
from ingestion.previews.contact_sheet import ACROSS, TILE, count_doubts, make_contact_sheet
from ingestion.stages.doubts import INVERTED, LOW_CONTRAST, find_doubt
from ingestion.stages.images import images_schema
from store.batches import Batch, Plan, output_path
from store.seals import seal

SIDE = 64


def draw_chest(height, width):
    """Dark air beside and lungs in a bright body."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    body = 170 * (y > 0.15 + 1.2 * np.abs(x - 0.5) ** 2)
    lungs = 110 * np.exp(-(((np.abs(x - 0.5) - 0.22) / 0.12) ** 2 + ((y - 0.5) / 0.22) ** 2))
    return np.clip(body - lungs + 20, 0, 255).astype(np.uint8)


def decoded(image):
    return DecodedImage(letterbox(image, SIDE), *image.shape)


@pytest.mark.parametrize("shape", [(300, 250), (250, 300), (64, 64)])
def test_doubts(shape):
    chest = draw_chest(*shape)
    assert find_doubt(decoded(chest)) == ""
    assert find_doubt(decoded(255 - chest)) == INVERTED
    assert find_doubt(decoded(100 + chest // 10)) == LOW_CONTRAST


def test_radiographs_and_their_negatives_are_told_apart(shared_data):
    folders = (shared_data / "nih_three_class", shared_data / "covid_cxr" / "images")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.jpg"))[:80]]
    assert len(paths) == 160
    images = [read_square(path, SquareOptions(96)) for path in paths]
    negatives = [DecodedImage(letterbox(255 - cv2.resize(one.pixels, (96, 96)), 96), 96, 96) for one in images]
    assert np.mean([find_doubt(one) == "" for one in images]) > 0.95
    assert np.mean([find_doubt(one) == INVERTED for one in negatives]) > 0.9


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_smallest_images_raise_nothing(length):
    find_doubt(DecodedImage(np.zeros((32, 32), np.uint8), length, 500))


def write(folder, name, levels, **columns):
    """A batch of images of one grey each."""
    number = len(levels)
    rows = {
        "image_id": [f"{name}{index}" for index in range(number)],
        "height": [SIDE] * number,
        "width": [SIDE] * number,
        "pixels": [bytes([level]) * (SIDE * SIDE) for level in levels],
        "header": ["{}"] * number,
        "dropped": [[]] * number,
        "burned_in": [None] * number,
        "display_fallback": [""] * number,
        "doubt": [""] * number,
    }
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({**rows, **columns}, schema=images_schema(SIDE)), output_path(folder, name))
    seal(output_path(folder, name))


def make_plan(names):
    return Plan(tuple(Batch(name, name) for name in names))


def tiles(png):
    sheet = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    return [
        int(sheet[row + TILE // 2, column + TILE // 2])
        for row in range(0, len(sheet), TILE)
        for column in range(0, ACROSS * TILE, TILE)
    ]


def test_doubtful_images_come_first_and_text_in_pixels_is_left_out(tmp_path):
    write(tmp_path, "a", range(10, 40))
    write(tmp_path, "b", [200, 210, 220], doubt=[INVERTED, "", ""], display_fallback=["", "range of the pixels", ""])
    write(tmp_path, "c", [250], burned_in=[True])
    plan = make_plan("abc")
    found = tiles(make_contact_sheet(tmp_path, plan))
    assert sorted(found[:2]) == [200, 210]
    assert len(set(found)) == 16
    assert 250 not in found
    assert make_contact_sheet(tmp_path, plan) == make_contact_sheet(tmp_path, plan)
    assert make_contact_sheet(tmp_path, make_plan("")) == b""


def test_counts_name_the_fallback_and_the_doubt(tmp_path):
    write(tmp_path, "b", [1, 2, 3], doubt=[INVERTED, INVERTED, ""], display_fallback=["", "", "range of the pixels"])
    table = pq.read_table(output_path(tmp_path, "b"))
    assert count_doubts([table]) == {"display_fallback: range of the pixels": 1, "doubtful: seems inverted": 2}
