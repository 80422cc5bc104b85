"""Arrays are computed once for a key, and again where their file is damaged or was made for another key."""

from __future__ import annotations

import numpy as np
import pytest

from store.arrays import keep_arrays
from store.seals import is_intact
from tests.evaluation.damage import DAMAGES, replace_by

KEY = {"of": "one", "rows": [0, 2]}
ARRAYS = [np.arange(600, dtype=np.float32).reshape(2, 300), np.zeros((0, 3))]


def keep(path, key=KEY, arrays=ARRAYS):
    """The arrays that are kept, whether they were computed, and what was said."""
    computed, said = [], []

    def compute():
        computed.append(True)
        return arrays

    return keep_arrays(path, key, compute, said.append), bool(computed), said


def equal(some, others):
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def test_arrays_are_computed_once(tmp_path):
    path = tmp_path / "folder" / "a.npz"
    assert keep(path)[1:] == (True, [])
    kept, computed, said = keep(path, arrays=[])
    assert equal(kept, ARRAYS)
    assert [array.dtype for array in kept] == [array.dtype for array in ARRAYS]
    assert (computed, said) == (False, [])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_arrays_are_computed_again_which_is_said(tmp_path, damage):
    path = tmp_path / "a.npz"
    keep(path)
    before = path.read_bytes()
    damage(path)
    kept, computed, (sentence,) = keep(path)
    assert equal(kept, ARRAYS)
    assert computed
    assert str(path) in sentence
    assert sentence.endswith("it is made again.")
    assert path.read_bytes() == before
    assert is_intact(path)
    assert keep(path)[1:] == (False, [])


def test_arrays_of_another_key_are_not_taken(tmp_path):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    keep(path)
    keep(other, {**KEY, "of": "another"}, [np.ones(3)])
    replace_by(path, other)
    assert is_intact(path)
    kept, computed, (sentence,) = keep(path)
    assert equal(kept, ARRAYS)
    assert computed
    assert "was made from something else and is set aside as a.npz.damaged" in sentence


def test_a_file_that_holds_no_arrays_is_not_taken_and_runs_no_code(tmp_path):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    keep(path)
    keep(other)
    np.savez(other, key=np.array([object()], object))  # a pickle
    from store.seals import seal

    seal(other)
    replace_by(path, other)
    kept, computed, (sentence,) = keep(path)
    assert equal(kept, ARRAYS)
    assert computed
    assert "set aside" in sentence
