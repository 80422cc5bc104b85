"""A home on object storage from several machines: what one publishes the others find, and nothing of a late writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from store import batches
from store.batches import Batch, Plan
from store.errors import DamageError
from store.home import default_home
from store.locks import HELD, holding
from store.remote import fetching, mirror
from store.remote.protocol import leases
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.publishing import Publishing
from store.seals import expect_intact, is_intact, is_sealed, sealing, unlink, write_sealed_json, write_sealed_table

FINGERPRINT = "0123456789abcdef0123"
TABLE = pa.table({"image_id": ["a", "b"]})


def lock(home: Path) -> Path:
    return home / "phantom" / "ingestion.lock"


def publish(home: Path, name: str, value: object) -> Path:
    write_sealed_json(home / name, value)
    return home / name


def read(path: Path) -> object:
    return json.loads(expect_intact(path, "again.").read_text())


def test_the_default_home_is_a_mirror_and_costs_no_request(host, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert host("a") == default_home() == tmp_path / "a"
    monkeypatch.delenv(mirror.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_home().parent == tmp_path / "cache" / "radalign"
    assert mirror.name_of(default_home()) == os.environ["RADALIGN_HOME"]


def test_without_an_address_there_is_no_keeper(tmp_path, monkeypatch):
    monkeypatch.setenv("RADALIGN_HOME", str(tmp_path))
    monkeypatch.delenv(mirror.KNOWN, raising=False)
    assert mirror.keeper_of(tmp_path / "phantom") is None
    assert not mirror.is_kept(tmp_path / "phantom" / "a.json")


def test_a_sealed_file_is_in_the_mirror_of_the_other_machine(host):
    publish(host("a"), "phantom/studies/a.json", 1)
    b = host("b")
    mirror.refresh(b)
    assert read(b / "phantom/studies/a.json") == 1
    publish(b, "phantom/studies/a.json", 2)
    a = host("a")
    mirror.refresh(a)
    assert read(a / "phantom/studies/a.json") == 2


def test_what_was_written_beside_a_sealed_file_is_published_with_it(host):
    from store.atomic import write_text

    a = host("a")
    write_text(a / "phantom/shards/manifest.json", "{}")
    mirror.refresh(host("b"))
    assert not (host("b") / "phantom/shards/manifest.json").exists()
    publish(host("a"), "phantom/shards/plan.json", 1)
    mirror.refresh(host("b"))
    assert (host("b") / "phantom/shards/manifest.json").read_text() == "{}"


def test_a_file_that_was_removed_for_good_is_gone_elsewhere(host):
    publish(host("a"), "phantom/regions/a.json", 1)
    mirror.refresh(host("b"))
    unlink(host("a") / "phantom/regions/a.json")
    b = host("b")
    mirror.refresh(b)
    assert not (b / "phantom/regions/a.json").exists()
    assert not is_sealed(b / "phantom/regions/a.json")


def test_a_large_file_is_known_and_fetched_when_it_is_opened(host, monkeypatch):
    monkeypatch.setattr(fetching, "SMALL", 100)
    publish(host("a"), "phantom/studies/large.json", list(range(1000)))
    b = host("b")
    mirror.refresh(b)
    path = b / "phantom/studies/large.json"
    assert not path.exists()
    assert is_intact(path)
    assert read(path) == list(range(1000))
    located = mirror.keeper_of(path).fetching.locate(path)
    assert located.record.size == path.stat().st_size


def test_a_damaged_object_is_not_used_and_made_again(host, monkeypatch):
    monkeypatch.setattr(fetching, "SMALL", 100)
    path = publish(host("a"), "phantom/studies/large.json", list(range(1000)))
    keeper = mirror.keeper_of(path)
    keeper.objects.put(keeper.fetching.locate(path).record.key, b"other bytes")
    b = host("b")
    mirror.refresh(b)
    with pytest.raises(DamageError, match="is missing; again"):
        expect_intact(b / "phantom/studies/large.json", "again.")
    assert not is_intact(b / "phantom/studies/large.json")
    publish(b, "phantom/studies/large.json", [1])
    assert read(b / "phantom/studies/large.json") == [1]


def test_a_batch_is_planned_and_counted_without_its_files(host):
    batch = Batch("b00000", FINGERPRINT)
    folder = host("a") / "phantom" / "images"
    batches.run_batch(folder, batch, lambda: (TABLE, TABLE.slice(0, 1)))
    folder = host("b") / "phantom" / "images"
    plan = Plan((batch,), {"size": 32})
    assert batches.missing(folder, plan) == []
    outcome = batches.run_batch(folder, batch, lambda: pytest.fail("computed again"))
    assert (outcome.computed, outcome.rows, outcome.rejects) == (False, 2, 1)
    batches.commit(folder, plan)
    assert not batches.output_path(folder, FINGERPRINT).exists()
    assert batches.read_batches(folder).equals(TABLE)
    assert batches.read_rejects(folder).num_rows == 1
    assert batches.read_plan(host("a") / "phantom" / "images") == Plan()
    mirror.refresh(host("a"))
    assert batches.read_plan(host("a") / "phantom" / "images") == plan


def test_a_batch_that_was_not_published_when_its_maker_was_killed_is_published_later(host, monkeypatch):
    batch = Batch("b00000", FINGERPRINT)
    folder = host("a") / "phantom" / "images"
    with monkeypatch.context() as patch:
        patch.setattr(Publishing, "keep_batches", lambda *_: None)
        batches.run_batch(folder, batch, lambda: (TABLE, None))
    assert batches.missing(folder, Plan((batch,))) == []
    batches.commit(folder, Plan((batch,), {"size": 32}))
    there = host("b") / "phantom" / "images"
    assert batches.missing(there, Plan((batch,))) == []


def test_of_two_workers_that_made_the_same_batch_the_first_counts(host, monkeypatch):
    batch, other = Batch("b00000", FINGERPRINT), pa.table({"image_id": ["other"]})
    batches.run_batch(host("a") / "phantom" / "images", batch, lambda: (TABLE, None))
    folder = host("b") / "phantom" / "images"
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "is_kept", lambda _: False)
        write_sealed_table(other, batches.output_path(folder, FINGERPRINT))
    assert batches.read_batches(folder, Plan((batch,))).num_rows == 1  # not known to be another yet
    mirror.keeper_of(folder).publishing._keep_batch(batches.output_path(folder, FINGERPRINT))
    host("c")
    assert batches.read_batches(host("c") / "phantom" / "images", Plan((batch,))).equals(TABLE)


def test_a_damaged_batch_of_the_store_is_computed_again(host):
    batch, a = Batch("b00000", FINGERPRINT), host("a")
    batches.run_batch(a / "phantom" / "images", batch, lambda: (TABLE, None))
    output = batches.output_path(a / "phantom" / "images", FINGERPRINT)
    keeper = mirror.keeper_of(output)
    keeper.objects.put(keeper.fetching.locate(output).record.key, b"other bytes")
    folder = host("b") / "phantom" / "images"
    with pytest.raises(DamageError):
        batches.read_batches(folder, Plan((batch,)))
    assert batches.missing(folder, Plan((batch,))) == [batch]
    assert batches.run_batch(folder, batch, lambda: (TABLE, None)).computed


def test_a_lock_is_a_lease_and_what_it_guards_is_fresh_under_it(host):
    a = host("a")
    with holding(lock(a), "writes"):
        publish(a, "phantom/studies/a.json", 1)
        with holding(lock(a), "writes"):  # again in the same process
            publish(a, "phantom/studies/b.json", 2)
    b = host("b")
    with holding(lock(b), "writes"):
        assert read(b / "phantom/studies/a.json") == 1
        assert read(b / "phantom/studies/b.json") == 2


def test_a_step_on_another_machine_publishes_under_the_lease_of_its_run(host, monkeypatch):
    a = host("a")
    with holding(lock(a), "writes"):
        held, b = os.environ[HELD], host("b")
        monkeypatch.setenv(HELD, held)
        with holding(lock(b), "writes"):
            publish(b, "phantom/studies/a.json", 1)
        host("a")
    assert HELD not in os.environ
    assert mirror.keeper_of(a).manifests.read("phantom").tokens == {"phantom/ingestion.lock": 1}


def test_a_writer_that_was_paused_publishes_nothing_late(host, monkeypatch):
    monkeypatch.setenv(leases.VARIABLE, "1")
    monkeypatch.setattr(leases.Lease, "_renew_often", lambda _: None)  # a process that stands still
    a = host("a")

    def write_late():
        with holding(lock(a), "writes"):
            publish(a, "phantom/studies/a.json", "first")
            held = os.environ.pop(HELD)
            b = host("b")
            monkeypatch.setattr(leases, "machine", lambda: "another machine")
            with holding(lock(b), "writes"):
                host("a")
                monkeypatch.setenv(HELD, held)
                publish(a, "phantom/studies/a.json", "late")

    with pytest.raises(LeaseLostError, match="publishes nothing more") as caught:
        write_late()
    assert "\n" not in str(caught.value)
    monkeypatch.delenv(HELD, raising=False)
    c = host("c")
    mirror.refresh(c)
    assert read(c / "phantom/studies/a.json") == "first"


def test_a_lease_whose_object_was_deleted_can_be_taken_again(host):
    """As the sentence of a damaged one asks for."""
    a = host("a")
    for value in (1, 2):
        with holding(lock(a), "writes"):
            publish(a, "phantom/studies/a.json", value)
    mirror.keeper_of(a).objects.delete("leases/phantom/ingestion.lock")
    with holding(lock(a), "writes"):
        publish(a, "phantom/studies/a.json", 3)
    assert mirror.keeper_of(a).manifests.read("phantom").tokens == {"phantom/ingestion.lock": 3}


def test_what_a_killed_writer_left_unpublished_is_gone_under_the_next_lease(host, monkeypatch):
    a = host("a")
    with holding(lock(a), "writes"):
        publish(a, "phantom/studies/a.json", "published")
    with monkeypatch.context() as patch:
        patch.setattr(Publishing, "publishing", lambda *_: mirror.nullcontext())
        publish(a, "phantom/studies/a.json", "unpublished")
        publish(a, "phantom/studies/b.json", "unpublished")
    mirror.keeper_of(a).publishing.drop("phantom")  # the memory of the killed process
    with holding(lock(a), "writes"):
        assert read(a / "phantom/studies/a.json") == "published"
        assert not (a / "phantom/studies/b.json").exists()


def test_an_error_in_the_block_of_a_file_publishes_nothing(host):
    a = host("a")
    path = publish(a, "phantom/studies/a.json", 1)

    def fail():
        with sealing(path) as partial:
            partial.write_text("2")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    b = host("b")
    mirror.refresh(b)
    assert read(b / "phantom/studies/a.json") == 1


def test_a_version_with_its_links_is_found_by_another_machine(host):
    a = host("a")
    batches.run_batch(a / "phantom" / "shards", Batch("b00000", FINGERPRINT), lambda: (TABLE, None))
    folder = a / "phantom" / "versions" / "one" / "shards"
    publish(a, "phantom/versions/one/shards/plan.json", 1)
    (folder / f"{FINGERPRINT}.parquet").symlink_to(Path("..", "..", "..", "shards", f"{FINGERPRINT}.parquet"))
    mirror.publish(folder.parent)
    b = host("b")
    there = b / "phantom" / "versions" / "one" / "shards"
    assert mirror.is_kept(there / f"{FINGERPRINT}.parquet")
    assert read(there / "plan.json") == 1
    assert mirror.fetch(there / f"{FINGERPRINT}.parquet")
    assert (there / f"{FINGERPRINT}.parquet").read_bytes() == (folder / f"{FINGERPRINT}.parquet").read_bytes()


def test_the_folder_of_a_training_goes_on_elsewhere_with_its_checkpoints_alone(host, monkeypatch):
    monkeypatch.setattr(fetching, "SMALL", 100)
    run = Path("checkpoints", "medklip", "f00d")
    a = host("a") / run

    def checkpoint(step, *older):
        folder = a / "checkpoints" / f"step-{step}"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(1000) + bytes([step]))
        (folder / "card").write_text(str(step))
        mirror.publish(folder, gone=older)
        return folder

    with holding(a / "lock", "trains"):
        first = checkpoint(1)
        checkpoint(2, first)
    b = host("b") / run
    with holding(b / "lock", "trains"):
        assert [path.name for path in (b / "checkpoints").iterdir()] == ["step-2"]
        mirror.bring_whole(b / "checkpoints" / "step-2")
        assert (b / "checkpoints" / "step-2" / "weights").read_bytes()[-1] == 2


def test_a_folder_is_packed_with_the_times_of_its_files(host):
    folder = host("a") / "phantom" / "archive"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "a.dcm").write_bytes(b"image")
    os.utime(folder / "files" / "a.dcm", ns=(1_700_000_000_123_456_789,) * 2)
    mirror.pack(folder)
    there = host("b") / "phantom" / "archive"
    mirror.refresh(host("b"))
    mirror.unpack(there)
    assert (there / "files" / "a.dcm").read_bytes() == b"image"
    assert (there / "files" / "a.dcm").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_logs_locks_and_databases_stay_on_their_machine(host):
    a = host("a")
    for name in ("logs/run.json", "dagster/history.json", "mlflow.db-wal", "phantom/x.1.partial/a.json"):
        publish(a, name, 1)
    assert list(mirror.keeper_of(a).objects.list("")) == []


def test_a_mirror_of_another_home_is_refused(host, monkeypatch, server):
    a = host("a")
    mirror.refresh(a)
    monkeypatch.setenv("RADALIGN_HOME", server.url("another"))
    monkeypatch.delenv(mirror.KNOWN)
    with pytest.raises(StoreError, match=r"mirrors another home \(s3://radalign/home\d+\): set RADALIGN_MIRROR"):
        mirror.refresh(default_home())


def test_a_mirror_whose_mark_was_lost_in_a_power_cut_is_used_again(host):
    a = host("a")
    publish(a, "phantom/studies/a.json", 1)
    mirror.refresh(a)
    mark = a / ".remote" / "home.json"
    for left in ("", "[]", '{"other": 1}'):
        whole = mark.read_text()
        mark.write_text(left)
        mirror._keepers.clear()
        mirror.refresh(a)
        assert mark.read_text() == whole


def test_a_folder_with_files_of_its_own_is_no_mirror(host):
    a = host("a")
    (a / "phantom" / "studies").mkdir(parents=True)
    (a / "phantom" / "studies" / "plan.json").write_text("{}")
    with pytest.raises(StoreError, match=r"phantom/studies/plan\.json, .* set RADALIGN_MIRROR to an empty folder"):
        mirror.refresh(a)
    assert (a / "phantom" / "studies" / "plan.json").exists()


def test_another_server_at_the_address_gets_what_the_first_one_had(host, monkeypatch):
    a = host("a")
    mirror.refresh(a)
    path = publish(a, "phantom/studies/a.json", 1)
    keeper = mirror.keeper_of(path)
    for found in list(keeper.objects.list("")):
        keeper.objects.delete(found.name)
    monkeypatch.setattr("store.remote.home.endpoint", lambda: "http://another")
    keeper._checked = False
    mirror.refresh(a)
    publish(a, "phantom/studies/b.json", 2)
    mirror.publish(path)
    located = keeper.fetching.locate(path)
    assert keeper.objects.head(located.record.key) is not None
