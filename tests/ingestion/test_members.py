from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from ingestion import members
from ingestion.members import SCHEMA, assign, read_members, rows_of_batches, write_members
from store import batches
from store.batches import Batch, Plan


def table_of(cut):
    """The table of a dict: name of a batch -> its studies."""
    rows = [{"study_id": study, "batch": int(name[1:])} for name, studies in cut.items() for study in studies]
    return pa.Table.from_pylist(rows, SCHEMA)


def dict_of(table):
    found = {}
    for row in table.to_pylist():
        found.setdefault(members.name_batch(row["batch"]), []).append(row["study_id"])
    return found


def cut(previous, present, size):
    return dict_of(assign(table_of(previous), pa.array(present, pa.string()), size))


def assign_slowly(previous, present, size):
    """The rule of `assign`, study by study."""
    there = set(present)
    kept = {name: [study for study in studies if study in there] for name, studies in previous.items()}
    known = {study for studies in kept.values() for study in studies}
    new = [study for study in present if study not in known]
    small = {name: studies for name, studies in kept.items() if 2 * len(studies) < size}
    if sum(map(len, small.values())) + len(new) >= size:
        kept = {name: studies for name, studies in kept.items() if name not in small}
        new = [study for studies in small.values() for study in studies] + new
    first = 1 + max((int(name[1:]) for name in previous), default=-1)
    fresh = {f"b{first + index:05d}": new[start : start + size] for index, start in enumerate(range(0, len(new), size))}
    return {name: studies for name, studies in {**kept, **fresh}.items() if studies}


def test_small_batches_are_dissolved_when_they_fill_a_whole_one():
    found = cut({}, [f"s{i}" for i in range(10)], 10)
    nights = 0
    for night in range(1, 31):  # one new study a night
        before = found
        found = cut(before, [*(study for studies in before.values() for study in studies), f"n{night}"], 10)
        moved = {name for name in before if before[name] != found.get(name)}
        nights += bool(moved)
        assert sum(len(studies) for studies in found.values() if 2 * len(studies) < 10) < 10
    assert nights == 3
    assert sorted(map(len, found.values())) == [10, 10, 10, 10]
    assert found["b00000"] == [f"s{i}" for i in range(10)]
    assert sorted(study for studies in found.values() for study in studies) == sorted(
        [f"s{i}" for i in range(10)] + [f"n{i}" for i in range(1, 31)]
    )


@pytest.mark.parametrize("seed", range(20))
def test_studies_that_come_and_go_are_cut_as_one_by_one(seed):
    draw = random.Random(seed)
    size, present, found = draw.randint(1, 9), [], {}
    for night in range(30):
        present = [study for study in present if draw.random() < 0.9]
        present += [f"n{night}-{index}" for index in range(draw.randint(0, 12))]
        draw.shuffle(present)
        expected = assign_slowly(found, present, size)
        found = cut(found, present, size)
        assert found == expected
        assert list(found) == sorted(found)


def test_the_rows_of_a_batch_follow_its_studies_and_then_the_archive():
    studies = pa.chunked_array([["s3", "s1"], ["s2", "s1", "s3"]])
    found = rows_of_batches(studies, table_of({"b00002": ["s1", "s3"], "b00007": ["s2"]}))
    assert {name: rows.tolist() for name, rows in found} == {"b00002": [1, 3, 0, 4], "b00007": [2]}


def test_what_is_kept_is_read_and_another_size_cuts_anew(tmp_path):
    table = table_of({"b00000": ["s1", "s2"], "b00001": ["s3"]})
    write_members(table, tmp_path, 2)
    assert read_members(tmp_path, 2, print).equals(table)
    assert read_members(tmp_path, 3, print).num_rows == 0
    assert read_members(tmp_path / "nowhere", 2, print).num_rows == 0


def test_members_in_a_plan_of_an_earlier_version_are_read(tmp_path):
    former = {"b00000": ["s1", "s2"], "b00004": ["s3"]}
    cut = tuple(Batch(name, name[1:] * 4) for name in former)
    batches.commit(tmp_path, Plan(cut, {"batch_size": 2, "members": former}))
    assert dict_of(read_members(tmp_path, 2, print)) == former
    assert read_members(tmp_path, 3, print).num_rows == 0


@pytest.mark.parametrize("lost", [False, True])
def test_damaged_members_are_read_from_the_batches(tmp_path, lost):
    table, lines = table_of({"b00000": ["s2", "s1"], "b00001": ["s3"]}), []
    cut = tuple(Batch(f"b{number:05d}", str(number) * 20) for number in range(2))
    for batch, studies in zip(cut, (["s2", "s2", "s1"], ["s3"]), strict=True):
        batches.run_batch(tmp_path, batch, lambda studies=studies: (pa.table({"study_id": studies}), None))
    batches.commit(tmp_path, Plan(cut, {"batch_size": 2}))
    write_members(table, tmp_path, 2)
    (tmp_path / members.FILE).write_bytes(b"damaged")
    if lost:
        batches.output_path(tmp_path, cut[0].fingerprint).unlink()
    found = read_members(tmp_path, 2, lines.append)
    assert dict_of(found) == ({"b00001": ["s3"]} if lost else dict_of(table))
    assert found.schema.equals(SCHEMA)
    assert "damaged" in lines[0]
    assert np.array_equal(found["batch"].to_numpy(), found["batch"].to_numpy().astype(np.int32))
