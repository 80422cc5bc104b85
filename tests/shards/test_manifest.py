import json
from dataclasses import replace

import pytest

from shards.errors import ShardError
from shards.manifest import FILE_NAME, Manifest
from store.digests import file_digest


def test_manifest_counts_what_is_there(folder):
    manifest = Manifest.load(folder, verify=True)
    assert manifest.rows == 705
    assert [shard.file for shard in manifest.shards] == ["a.parquet", "b.parquet"]
    assert manifest.shards[1].splits == {"train": 3, "validate": 2}
    assert sum(manifest.splits.values()) == 705
    assert manifest.entities == ("normal", "effusion", "nodule")
    assert json.loads((folder / FILE_NAME).read_text())["digest"] == manifest.digest


def test_digest_follows_the_content_not_the_folder(folder, tmp_path_factory):
    manifest = Manifest.load(folder)
    copy = tmp_path_factory.mktemp("copy")
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert Manifest.load(copy).digest == manifest.digest
    assert manifest.shards[0].digest == file_digest(folder / "a.parquet")


def test_absent_manifest(tmp_path):
    with pytest.raises(ShardError, match="There is no manifest"):
        Manifest.load(tmp_path)


def test_missing_shard_is_named(folder):
    (folder / "b.parquet").unlink()
    with pytest.raises(ShardError, match=r"b\.parquet .* is missing"):
        Manifest.load(folder)


def test_changed_shard_is_named_when_asked(folder):
    path = folder / "b.parquet"
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    Manifest.load(folder)
    with pytest.raises(ShardError, match=r"b\.parquet was changed after it was written .* b\.parquet\.damaged"):
        Manifest.load(folder, verify=True)
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": "0"}, "has schema version 0, not 3"),
        ({"size": 8}, "was changed after it was written"),
        ({"shards": [{"file": "a.parquet"}]}, "is not a shard manifest"),
        ({"shards": [{"file": "a", "rows": "x", "digest": "", "content": "0", "splits": {}}]}, "is not a shard"),
        (
            {"shards": [{"file": "a", "rows": 1, "digest": "", "content": "zz", "splits": {}}]},
            "is not a shard manifest",
        ),
    ],
)
def test_other_manifests_are_refused(folder, change, message):
    path = folder / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ShardError, match=message):
        Manifest.load(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", "[" * 100_000])
def test_no_manifest_at_all(folder, text):
    (folder / FILE_NAME).write_text(text)
    with pytest.raises(ShardError, match="is not a shard manifest"):
        Manifest.load(folder)


def test_a_manifest_names_no_file_elsewhere(folder):
    manifest = Manifest.load(folder)
    elsewhere = replace(manifest.shards[0], file=f"../{folder.name}/{manifest.shards[0].file}")
    replace(manifest, shards=(elsewhere,)).write(folder)
    with pytest.raises(ShardError, match="was changed after it was written"):
        Manifest.load(folder)
