"""Pseudonyms are those of the key: the same in one home, others in another, without anything of the identifier."""

from __future__ import annotations

import hmac
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohorts.described.pseudonyms import MOST_DAYS, days_of, pseudonym, read_key
from store.errors import DamageError

KEY = bytes(range(32))
NAMES = st.text(max_size=20)


def test_a_key_is_made_once_and_nobody_else_may_read_it(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(read_key, [tmp_path / "home"] * 4))
    assert len(keys) == 1
    assert len(keys.pop()) == 32
    assert stat.S_IMODE((tmp_path / "home" / "key").stat().st_mode) == 0o600
    assert read_key(tmp_path / "home") != read_key(tmp_path / "other")


def test_a_damaged_key_is_said_and_not_replaced(tmp_path):
    key = read_key(tmp_path)
    (tmp_path / "key").write_text("00" * 32)
    with pytest.raises(DamageError, match=r"put the copies of key and key\.sha256 back"):
        read_key(tmp_path)
    (tmp_path / "key").write_text(key.hex())
    assert read_key(tmp_path) == key


def test_a_lost_key_is_not_replaced_where_studies_are_named_by_it(tmp_path):
    key = read_key(tmp_path)
    (tmp_path / "archive" / "inventory").mkdir(parents=True)
    (tmp_path / "archive" / "inventory" / "0a.parquet").touch()
    kept = {name: (tmp_path / name).read_bytes() for name in ("key", "key.sha256")}
    for name in kept:
        (tmp_path / name).unlink()
        with pytest.raises(DamageError, match=r"key is gone, and the studies in .*archive are named by it"):
            read_key(tmp_path)
        assert not (tmp_path / "key").exists()
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    assert read_key(tmp_path) == key


def test_a_pseudonym_is_the_hmac_of_its_parts():
    message = b"".join(len(part).to_bytes(8, "big") + part for part in (b"patient", b"4711"))
    assert pseudonym(KEY, "patient", "4711") == hmac.new(KEY, message, "sha256").hexdigest()[:16]


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=6, unique=True))
def test_other_parts_have_other_pseudonyms(parts):
    found = {pseudonym(KEY, "study", *names) for names in parts}
    assert len(found) == len(parts)
    assert all(set(one) <= set("0123456789abcdef") for one in found)


@given(NAMES)
def test_dates_are_moved_by_one_day_at_least(patient):
    assert 1 <= days_of(KEY, patient) <= MOST_DAYS
