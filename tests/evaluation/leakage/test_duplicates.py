import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.leakage import duplicates
from evaluation.leakage.duplicates import BITS, LIMIT, hashes, informative, near_duplicates
from tests.evaluation.random_films import random_films


def jpeg(film, quality=70):
    return cv2.imdecode(cv2.imencode(".jpg", film, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def shifted(film):
    return np.pad(film, ((0, 0), (1, 0)))[:, :-1]


def half(film):
    return cv2.resize(film, (64, 64), interpolation=cv2.INTER_AREA)


COPIES = {
    "exact": lambda film: film,
    "brighter": lambda film: (film.astype(int) + 5).astype(np.uint8),
    "jpeg": jpeg,
    "shifted": shifted,
    "mirrored": lambda film: film[:, ::-1],
    "half the size": half,
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_planted_copies_are_found_and_nothing_else(copy):
    seen, others = random_films(0), random_films(1, n=3)
    tested = [copy(seen[7]), *(copy(other) for other in others), copy(seen[30])]
    pairs = near_duplicates(hashes(seen), hashes(np.stack(tested)))
    assert pairs.tolist() == [[7, 0], [30, 4]]


def test_a_crop_is_not_found():
    seen = random_films(0)
    cropped = cv2.resize(seen[0][8:-8, 8:-8], (128, 128))
    assert not len(near_duplicates(hashes(seen), hashes(cropped[None])))


def test_blank_films_are_no_copies_of_each_other():
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8), (128, 128))
    marked = np.zeros((128, 128), np.uint8)
    marked[4:20, 4:30] = 255  # the letter of a side on an empty film
    stripes, both_ways = (ramp // 16 % 2) * np.uint8(90), ramp // 2 + ramp.T // 2
    nothing = np.zeros((128, 128), np.uint8)
    blank = np.stack([nothing, nothing + 77, ramp, ramp.T, marked, stripes, both_ways])
    assert not informative(hashes(blank)).any()
    assert not len(near_duplicates(hashes(blank), hashes(blank)))
    both = np.concatenate([blank, random_films(0, n=2)])
    assert near_duplicates(hashes(both), hashes(both)).tolist() == [[7, 7], [8, 8]]


def test_letterboxes_hash_alike_mirrored_and_twice():
    film = random_films(3, n=1)[0]
    film[:, :20] = film[:, -20:] = 0
    hashed = hashes(np.stack([film, film[:, ::-1]]))
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
        pairs = near_duplicates(one, other, limit)
    finally:
        duplicates.BLOCK = kept
    differ = np.unpackbits(one[:, None, :1] ^ other[None], axis=-1).sum(-1).min(-1)
    usable = informative(one)[:, None] & informative(other)[None]
    assert pairs.tolist() == np.argwhere((differ <= limit) & usable).tolist()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(17, 90))
def test_the_grid_is_the_mean_over_areas(seed, size):
    film = np.random.default_rng(seed).integers(0, 256, (2, size, size), np.uint8)
    side = duplicates.CELLS + 1
    fine = film.repeat(side, axis=1).repeat(side, axis=2).reshape(2, side, size, side, size)
    assert abs(duplicates._grid(film) - fine.mean(axis=(2, 4))).max() <= 0.51


def test_blocks_change_nothing_and_nothing_is_nothing(monkeypatch):
    some = random_films(4, n=9)
    whole = hashes(some)
    monkeypatch.setattr(duplicates, "BLOCK", some[:2].size)
    assert (hashes(some) == whole).all()
    assert hashes(some[:0]).shape == (0, 2, BITS // 8)
    assert near_duplicates(hashes(some[:0]), whole).shape == near_duplicates(whole, whole[:0]).shape == (0, 2)


def test_real_films_of_different_patients_are_apart(shared_data):
    paths = sorted((shared_data / "nih_three_class").glob("[NP]*/*"))[::4]
    read = np.stack([cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (224, 224)) for path in paths])
    hashed = hashes(read)
    assert informative(hashed).all()
    assert len(near_duplicates(hashed, hashed, limit=LIMIT)) == len(paths)
    copies = hashes(np.stack([jpeg(film, 50) for film in read]))
    assert len(near_duplicates(hashed, copies)) >= 0.97 * len(paths)
