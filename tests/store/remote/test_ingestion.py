"""One ingestion on a home on object storage, through faults: the tables of a local home, found by the next machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from cohorts.phantom.config import PhantomConfig
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.versions import at_version, pin, pinned_state, take_version
from ingestion.workspace import Workspace
from shards.reader import ShardReader
from store.remote import mirror

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
SETTINGS = IngestionSettings(
    archive=PhantomConfig(studies=8, seed=3), inventory=InventorySettings(batch_size=4), images=ImagesSettings(size=32)
)
STAGES = ("inventory", "images", "reports", "triplets", "report_labels", "shards", "studies", "rejects", "subsets")


def ingest(home: str = "") -> tuple[dict, list[str], Path]:
    workspace, lines = Workspace(home=home, cohort="phantom"), []
    mirror.refresh(workspace.home_path())
    return update(workspace, SETTINGS, lines.append, progress=False), lines, workspace.home_path()


def tables(home: Path) -> dict[str, bytes]:
    """Content of every table and shard, by its path."""
    files = [path for stage in STAGES for path in sorted((home / "phantom" / stage).glob("*.parquet"))]
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files if path.name != "sources.parquet"}


def same_times(one: Path, other: Path) -> None:
    """Give the second archive of two that are the same the times of the first: they are part of the inventory."""
    import os
    import shutil

    shutil.copytree(one / "phantom" / "archive", other / "phantom" / "archive", copy_function=shutil.copy2)
    for path in (one / "phantom" / "archive").rglob("*"):
        times = path.stat()
        there = other / "phantom" / "archive" / path.relative_to(one / "phantom" / "archive")
        os.utime(there, ns=(times.st_mtime_ns, times.st_mtime_ns))


def test_an_ingestion_through_faults_is_that_of_a_local_home_and_is_done_once(host, proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("RADALIGN_HOME", "")
    local = tmp_path / "local"
    expected, _, _ = ingest(str(local))

    host("a", AWS_ENDPOINT_URL=proxy.address)
    same_times(local, tmp_path / "a")
    proxy.set(slow_down=0.05, half_close=0.05, lost_reply=0.03)
    try:
        first, _, a = ingest()
        counts = proxy.counts()
    finally:
        proxy.set()
    assert min(counts["slow_down"], counts["half_close"], counts["lost_reply"]) > 0
    assert tables(a) == tables(local)
    assert {**first, "root": ""} == {**expected, "root": ""}

    host("b")
    monkeypatch.setattr("ingestion.stages.images.decode_batch", lambda *_: pytest.fail("an image is decoded again"))
    monkeypatch.setattr("cohorts.phantom.archive.write_study", lambda *_: pytest.fail("a study is simulated again"))
    second, lines, b = ingest()
    assert "0 of 2 batches to compute, the others are there" in lines
    assert {**second, "root": ""} == {**expected, "root": ""}
    for name, content in tables(b).items():
        assert content == tables(local)[name], name
    assert not list((b / "phantom" / "images").glob("[0-9a-f]*.parquet"))

    workspace = Workspace(cohort="phantom")
    pin(workspace, "run", second)
    c = Path(host("c"))
    mirror.refresh(c)
    kept = at_version(Workspace(cohort="phantom"), pinned_state(Workspace(cohort="phantom"), "run")["version"])
    rows = ShardReader(kept.folder("shards")).columns(None, ["image_id"]).num_rows
    assert rows == sum(expected[split] for split in ("train", "validate", "test") if split in expected)

    keeper, scope = mirror.keeper_of(c), f"phantom/versions/{kept.version}"
    keeper.manifests.remove(scope)  # as if the one who wrote it could not publish it
    keeper.local.indices.remove(scope)
    assert take_version(Workspace(cohort="phantom")) == kept.version
    assert keeper.manifests.read(scope).files
