import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards import duplicates
from shards.duplicates import BITS, LIMIT, find_near_duplicates, has_structure, hash_images
from tests.evaluation.random_images import random_images


def jpeg(image, quality=70):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def shifted(image):
    return np.pad(image, ((0, 0), (1, 0)))[:, :-1]


def half(image):
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


COPIES = {
    "exact": lambda image: image,
    "brighter": lambda image: (image.astype(int) + 5).astype(np.uint8),
    "jpeg": jpeg,
    "shifted": shifted,
    "mirrored": lambda image: image[:, ::-1],
    "half the size": half,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_planted_copies_are_found_and_nothing_else(copy):
    seen, others = random_images(0), random_images(1, n=3)
    tested = [copy(seen[7]), *(copy(other) for other in others), copy(seen[30])]
    pairs = find_near_duplicates(hash_images(seen), hash_images(np.stack(tested)))
    assert pairs.tolist() == [[7, 0], [30, 4]]


def test_a_crop_is_not_found():
    seen = random_images(0)
    cropped = cv2.resize(seen[0][8:-8, 8:-8], (128, 128))
    assert not len(find_near_duplicates(hash_images(seen), hash_images(cropped[None])))


def test_blank_images_are_no_copies_of_each_other():
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8), (128, 128))
    marked = np.zeros((128, 128), np.uint8)
    marked[4:20, 4:30] = 255  # the letter of a side on an empty image
    stripes, both_ways = (ramp // 16 % 2) * np.uint8(90), ramp // 2 + ramp.T // 2
    nothing = np.zeros((128, 128), np.uint8)
    blank = np.stack([nothing, nothing + 77, ramp, ramp.T, marked, stripes, both_ways])
    assert not has_structure(hash_images(blank)).any()
    assert not len(find_near_duplicates(hash_images(blank), hash_images(blank)))
    both = np.concatenate([blank, random_images(0, n=2)])
    assert find_near_duplicates(hash_images(both), hash_images(both)).tolist() == [[7, 7], [8, 8]]


def test_letterboxes_hash_alike_mirrored_and_twice():
    image = random_images(3, n=1)[0]
    image[:, :20] = image[:, -20:] = 0
    hashed = hash_images(np.stack([image, image[:, ::-1]]))
    assert (hashed[0] == hashed[1, ::-1]).all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    seen=st.integers(0, 30),
    tested=st.integers(0, 20),
    limit=st.integers(0, BITS // 2),
    block=st.sampled_from([1, 2000, 10**6]),
)
def test_pairs_are_those_of_counted_bits(seed, seen, tested, limit, block):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (1, 2, BITS // 8), np.uint8)
    flips = rng.random((seen + tested, 2, BITS // 8)) < rng.random((seen + tested, 1, 1))
    drawn = base ^ (flips * rng.integers(0, 256, flips.shape)).astype(np.uint8)
    one, other = drawn[:seen], drawn[seen:]
    kept = duplicates.BLOCK
    duplicates.BLOCK = block
    try:
        pairs = find_near_duplicates(one, other, limit)
    finally:
        duplicates.BLOCK = kept
    differ = np.unpackbits(one[:, None, :1] ^ other[None], axis=-1).sum(-1).min(-1)
    usable = has_structure(one)[:, None] & has_structure(other)[None]
    assert pairs.tolist() == np.argwhere((differ <= limit) & usable).tolist()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(17, 90))
def test_the_grid_is_the_mean_over_areas(seed, size):
    image = np.random.default_rng(seed).integers(0, 256, (2, size, size), np.uint8)
    side = duplicates.GRID + 1
    fine = image.repeat(side, axis=1).repeat(side, axis=2).reshape(2, side, size, side, size)
    assert abs(duplicates._average_grid(image) - fine.mean(axis=(2, 4))).max() <= 0.51


def test_blocks_change_nothing_and_nothing_is_nothing(monkeypatch):
    some = random_images(4, n=9)
    whole = hash_images(some)
    monkeypatch.setattr(duplicates, "BLOCK", some[:2].size)
    assert (hash_images(some) == whole).all()
    assert hash_images(some[:0]).shape == (0, 2, BITS // 8)
    assert (
        find_near_duplicates(hash_images(some[:0]), whole).shape
        == find_near_duplicates(whole, whole[:0]).shape
        == (0, 2)
    )


def test_real_images_of_different_patients_are_apart(shared_data):
    paths = sorted((shared_data / "nih_three_class").glob("[NP]*/*"))[::4]
    read = np.stack([cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (224, 224)) for path in paths])
    hashed = hash_images(read)
    assert has_structure(hashed).all()
    assert len(find_near_duplicates(hashed, hashed, limit=LIMIT)) == len(paths)
    copies = hash_images(np.stack([jpeg(image, 50) for image in read]))
    assert len(find_near_duplicates(hashed, copies)) >= 0.97 * len(paths)
