from __future__ import annotations

import json
import os
from time import process_time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import batches
from store.atomic import write_table
from store.batches import Batch, Plan
from store.errors import DamageError
from store.seals import seal, write_sealed_table


def table(*values):
    return pa.table({"value": pa.array(values, pa.int64())})


def plan_of(**fingerprints):
    return Plan(tuple(Batch(name, fingerprint) for name, fingerprint in fingerprints.items()))


def test_a_batch_is_computed_once(tmp_path):
    batch = Batch("b00000", "a" * 20)
    calls = []

    def compute():
        calls.append(1)
        return table(1, 2, 3), table(4)

    first = batches.run_batch(tmp_path, batch, compute)
    second = batches.run_batch(tmp_path, batch, compute)
    assert (first.computed, first.rows, first.rejects) == (True, 3, 1)
    assert (second.computed, second.rows, second.rejects) == (False, 3, 1)
    assert len(calls) == 1


@pytest.mark.parametrize("killed_in", ["compute", "rejects", "output"])
def test_a_killed_batch_is_computed_again_and_leaves_no_half_file(tmp_path, killed_in, monkeypatch):
    batch = Batch("b00000", "a" * 20)
    output = batches.output_path(tmp_path, batch.fingerprint)

    def killed(*_):
        raise KeyboardInterrupt

    compute = killed if killed_in == "compute" else lambda: (table(1), table(2, 3))
    with monkeypatch.context() as patch:
        if killed_in == "rejects":
            patch.setattr(batches, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            batches.run_batch(tmp_path, batch, compute, killed if killed_in == "output" else None)
    assert not output.exists()
    again = batches.run_batch(tmp_path, batch, lambda: (table(1), table(2, 3)))
    assert (again.computed, again.rows, again.rejects) == (True, 1, 2)
    assert pq.read_table(output)["value"].to_pylist() == [1]


def test_a_fingerprint_covers_stage_code_settings_and_upstream():
    upstream = {"inventory": plan_of(b00000="1" * 20)}

    def only(stage="images", code="x", size=128, upstream=upstream):
        (batch,) = batches.plan_stage(stage, code, {"size": size}, upstream).batches
        return batch.fingerprint

    changed = {
        only(stage="reports"),
        only(code="y"),
        only(size=64),
        only(upstream={"inventory": plan_of(b00000="2" * 20)}),
    }
    assert only() == only()
    assert len(changed) == 4
    assert only() not in changed


def test_a_changed_batch_changes_no_other():
    before = batches.plan_stage("images", "x", {}, {"inventory": plan_of(b0="1", b1="2")}).fingerprints()
    after = batches.plan_stage("images", "x", {}, {"inventory": plan_of(b0="1", b1="3", b2="4")}).fingerprints()
    assert before["b0"] == after["b0"]
    assert before["b1"] != after["b1"]
    assert set(after) == {"b0", "b1", "b2"}


def test_a_stage_that_reads_one_aspect_does_not_follow_the_others():
    def plan(images, rows):
        return Plan((Batch("b0", rows, aspects={"images": images}),))

    def fingerprint(images, rows, aspect):
        (batch,) = batches.plan_stage("images", "x", {}, {"inventory": plan(images, rows)}, aspect).batches
        assert batch.inputs == {"inventory": rows}  # the file to read is that of the whole batch
        return batch.fingerprint

    assert fingerprint("1", "2", "images") == fingerprint("1", "3", "images") != fingerprint("2", "2", "images")
    assert fingerprint("1", "2", "") == fingerprint("2", "2", "") != fingerprint("1", "3", "")


def test_only_what_is_not_there_is_missing(tmp_path):
    plan = plan_of(b0="0" * 20, b1="1" * 20)
    batches.run_batch(tmp_path, plan.batches[1], lambda: (table(1), None))
    assert batches.missing(tmp_path, plan) == [plan.batches[0]]


def test_inputs_cut_differently_are_refused():
    with pytest.raises(ValueError, match="different batches"):
        batches.plan_stage("shards", "x", {}, {"images": plan_of(b0="1"), "reports": plan_of(b1="1")})


def test_commit_removes_nothing_that_another_run_may_be_writing_or_reading(tmp_path):
    for value in ("0" * 20, "1" * 20):
        batches.run_batch(tmp_path, Batch("b0", value), lambda: (table(1), table(2)))
    partial = tmp_path / "a.parquet.17.partial"
    partial.touch()
    os.utime(partial, (0, 0))
    before = set(tmp_path.iterdir())
    for value in ("0" * 20, "1" * 20, "1" * 20):
        batches.commit(tmp_path, plan_of(b0=value))
    assert before < set(tmp_path.iterdir())


def test_a_plan_survives_its_file(tmp_path):
    plan = Plan((Batch("b0", "1" * 20, {"inventory": "2" * 20}),), {"size": 128})
    batches.commit(tmp_path, plan)
    assert batches.read_plan(tmp_path) == plan
    assert batches.read_plan(tmp_path / "nowhere") == Plan()


def test_reading_follows_the_plan(tmp_path):
    for value, number in (("1" * 20, 1), ("2" * 20, 2)):
        batches.run_batch(tmp_path, Batch("b", value), lambda number=number: (table(number), None))
    batches.commit(tmp_path, plan_of(b0="2" * 20, b1="1" * 20))
    assert batches.read_batches(tmp_path)["value"].to_pylist() == [2, 1]
    assert batches.read_rejects(tmp_path) is None


def flip(path):
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "truncated": truncate,
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "one bit": flip,
}


@pytest.mark.parametrize("name", ["output_path", "rejects_path"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_batch_is_set_aside_and_made_again(tmp_path, name, damage):
    batch, lines = Batch("b0", "0" * 20), []
    path = getattr(batches, name)(tmp_path, batch.fingerprint)
    batches.run_batch(tmp_path, batch, lambda: (table(1), table(2)))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    damage(path)
    plan = Plan((batch,))
    with pytest.raises(DamageError, match="ingest"):
        batches.read_batches(tmp_path, plan)
    assert batches.missing(tmp_path, plan, lines.append) == [batch]
    assert batches.run_batch(tmp_path, batch, lambda: (table(1), table(2)), log=lines.append).computed
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.suffix != ".damaged"} == before
    assert batches.missing(tmp_path, plan) == []


def test_what_is_damaged_is_said(tmp_path):
    batch, lines = Batch("b0", "0" * 20), []
    batches.run_batch(tmp_path, batch, lambda: (table(1), table(2)))
    flip(batches.output_path(tmp_path, batch.fingerprint))
    assert batches.run_batch(tmp_path, batch, lambda: (table(1), table(2)), log=lines.append).computed
    (line,) = lines
    assert "damaged" in line


def test_a_batch_whose_writer_was_killed_before_the_seal_is_made_again_without_a_word(tmp_path):
    batch, lines = Batch("b0", "0" * 20), []
    write_table(table(1), batches.output_path(tmp_path, batch.fingerprint))
    assert batches.missing(tmp_path, Plan((batch,)), lines.append) == [batch]
    assert not lines


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_plan_is_no_plan_and_is_said(tmp_path, damage):
    lines = []
    batches.commit(tmp_path, plan_of(b0="1" * 20))
    damage(tmp_path / "plan.parquet")
    for _ in range(2):
        with pytest.raises(DamageError, match=r"plan\.parquet"):
            batches.read_plan(tmp_path)
    assert batches.read_last_plan(tmp_path, lines.append) == Plan()
    assert len(lines) == 1
    batches.commit(tmp_path, plan_of(b0="2" * 20))
    assert batches.read_plan(tmp_path) == plan_of(b0="2" * 20)


def test_a_stage_without_a_plan_says_what_to_do(tmp_path):
    with pytest.raises(DamageError, match="ingest"):
        batches.expect_plan(tmp_path)


def former_plan(folder, text):
    """A plan as earlier versions of the code wrote it."""
    (folder / "plan.json").write_text(text)
    seal(folder / "plan.json")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "3", "{}", "[" * 100_000, '{"batches": [3], "settings": {}}', '{"batches": [], "settings": 3}',
        '{"batches": [{"name": "a", "fingerprint": "../elsewhere"}], "settings": {}}',
    ],
)  # fmt: skip
def test_what_is_no_former_plan_is_said(tmp_path, text):
    former_plan(tmp_path, text)
    with pytest.raises(DamageError, match=r"plan\.json is no plan of batches; bring the dataset up to date"):
        batches.read_plan(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        table(1),
        table(1).replace_schema_metadata({"settings": "{}"}),
        batches.PLAN_SCHEMA.empty_table(),
        batches.PLAN_SCHEMA.empty_table().replace_schema_metadata({"settings": "3"}),
        pa.Table.from_pylist(
            [{"name": "a", "fingerprint": "../elsewhere", "inputs": [], "aspects": []}],
            batches.PLAN_SCHEMA.with_metadata({"settings": "{}"}),
        ),
    ],
)
def test_what_is_no_plan_is_said(tmp_path, content):
    write_sealed_table(content, tmp_path / "plan.parquet")
    with pytest.raises(DamageError, match=r"plan\.parquet is no plan of batches; bring the dataset up to date"):
        batches.read_plan(tmp_path)


def test_a_plan_of_an_earlier_version_counts_until_the_next_is_committed(tmp_path):
    stored = {
        "settings": {"size": 128},
        "batches": [{"name": "b0", "fingerprint": "1" * 20, "inputs": {"inventory": "2" * 20}, "aspects": {}}],
    }
    former_plan(tmp_path, json.dumps(stored))
    plan = Plan((Batch("b0", "1" * 20, {"inventory": "2" * 20}),), {"size": 128})
    assert batches.read_plan(tmp_path) == plan
    batches.commit(tmp_path, plan)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.parquet", "plan.parquet.sha256"]
    assert batches.read_plan(tmp_path) == plan


def test_counts_of_known_batches_are_read_from_the_plan(tmp_path, monkeypatch):
    for value in ("1" * 20, "2" * 20):
        batches.run_batch(tmp_path, Batch("b", value), lambda: (table(1, 2), table(3)))
    batches.commit(tmp_path, plan_of(b0="1" * 20))
    opened = []
    monkeypatch.setattr(batches, "row_count", lambda path: opened.append(path.name) or 7)
    counts = batches.count(tmp_path, plan_of(b0="1" * 20, b1="2" * 20, b2="3" * 20))
    assert counts == {"1" * 20: batches.Count(2, 1), "2" * 20: batches.Count(7, 7)}
    assert all(name.startswith("2" * 20) for name in opened)


def test_plans_grow_and_are_read_in_proportion_to_their_batches(tmp_path):
    def read_plan_of(number):
        folder = tmp_path / str(number)
        cut = (Batch(f"b{index:05d}", f"{index:020d}", {"inventory": f"{index:020d}"}) for index in range(number))
        batches.commit(folder, Plan(tuple(cut), {"size": 128}), {})
        seconds = []
        for _ in range(3):
            start = process_time()
            batches.read_plan(folder)
            seconds.append(process_time() - start)
        return (folder / batches.PLAN).stat().st_size / number, min(seconds)

    (few_bytes, few_seconds), (many_bytes, many_seconds) = read_plan_of(1_000), read_plan_of(10_000)
    assert many_bytes < 1.2 * few_bytes
    assert many_seconds < 25 * few_seconds


def test_a_plan_is_cut_into_parts():
    plan = Plan(tuple(Batch(f"b{index}", str(index)) for index in range(5)), {"size": 128})
    parts = list(plan.parts(2))
    assert [len(part.batches) for part in parts] == [2, 2, 1]
    assert tuple(batch for part in parts for batch in part.batches) == plan.batches
    assert all(part.settings == plan.settings for part in parts)
