"""What was written and not published yet, when the store fails, the process ends, or another machine publishes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from store.code import ROOT
from store.remote.fetching import Fetching
from store.remote.local import LocalMirror
from store.remote.protocol.entries import Entries
from store.remote.protocol.errors import LeaseLostError, StoreError
from store.remote.protocol.manifests import Manifests
from store.remote.protocol.objects import Found
from store.remote.publishing import Publishing
from tests.store.remote.memory import MemoryObjects

AT_EXIT = """
import atexit, sys
from pathlib import Path
from tests.store.remote.memory import MemoryObjects
from tests.store.remote.test_failures import Mirror
objects = MemoryObjects()
mirror = Mirror(Path(sys.argv[1]), objects)
mirror.write("phantom/a", "1")
atexit.register(lambda: print(*mirror.manifests.read("phantom").files))
atexit.register(mirror.publishing.flush_all)
"""


class Mirror:
    """A mirror in a folder."""

    def __init__(self, folder, objects):
        self.local, self.manifests, entries = LocalMirror(folder), Manifests(objects), Entries(objects)
        self.fetching = Fetching(self.local, objects, self.manifests, entries)
        self.publishing = Publishing(self.local, objects, self.manifests, entries, self.fetching, lambda _: {})

    def write(self, name, text):
        path = self.local.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.publishing.note(path)

    def read(self, name):
        return (self.local.folder / name).read_text()


def test_what_was_noted_is_published_when_the_interpreter_ends(tmp_path):
    command = [sys.executable, "-c", AT_EXIT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "phantom/a\n"


@pytest.mark.parametrize(("error", "later"), [(StoreError, ["phantom/a"]), (LeaseLostError, [])])
def test_what_could_not_be_published_stays_noted_unless_the_lease_is_lost(tmp_path, monkeypatch, error, later):
    mirror = Mirror(tmp_path, MemoryObjects())
    mirror.write("phantom/a", "1")

    def fail(*_):
        raise error("away")

    with monkeypatch.context() as patch:
        patch.setattr(mirror.manifests, "publish", fail)
        with pytest.raises(error):
            mirror.publishing.flush("phantom")
    mirror.publishing.flush_all()
    assert list(mirror.manifests.read("phantom").files) == later


def test_a_change_that_was_never_published_is_undone_under_a_lease_also_after_others_have_published(tmp_path):
    objects = MemoryObjects()
    here, there = Mirror(tmp_path / "here", objects), Mirror(tmp_path / "there", objects)
    there.write("phantom/a", "1")
    there.publishing.flush_all()
    here.fetching.sync("phantom")
    here.write("phantom/a", "of a killed process")
    there.write("phantom/b", "2")
    there.publishing.flush_all()
    here.fetching.sync("phantom")
    assert here.read("phantom/a") == "of a killed process"
    here.fetching.sync("phantom", reset="phantom")
    assert (here.read("phantom/a"), here.read("phantom/b")) == ("1", "2")


def test_a_lease_of_a_folder_within_a_scope_undoes_nothing_beside_that_folder(tmp_path):
    """There another process of the machine, with a lease of its own, has not published yet what it has written."""
    objects = MemoryObjects()
    writer, watcher = Mirror(tmp_path, objects), Mirror(tmp_path, objects)
    writer.write("phantom/a", "published")
    writer.publishing.flush_all()
    for name in ("phantom/a", "phantom/b", "phantom/monitoring/c"):
        writer.write(name, "not yet")
    watcher.fetching.sync("phantom", reset="phantom/monitoring")
    assert not (tmp_path / "phantom/monitoring/c").exists()
    writer.publishing.flush_all()
    third = Mirror(tmp_path / "third", objects)
    third.fetching.sync("phantom")
    assert (third.read("phantom/a"), third.read("phantom/b")) == ("not yet", "not yet")


def test_content_that_others_have_forgotten_and_swept_is_stored_again(tmp_path):
    objects = MemoryObjects()
    here, there = Mirror(tmp_path / "here", objects), Mirror(tmp_path / "there", objects)
    here.write("phantom/a", "1")
    here.publishing.flush_all()
    there.fetching.sync("phantom")
    there.publishing.publish((), (there.local.folder / "phantom/a",))
    swept = [name for name in objects.kept if name.startswith("objects/")]
    for name in swept:
        objects.delete(name)
    here.write("phantom/a", "1")
    here.publishing.flush_all()
    assert [name for name in objects.kept if name.startswith("objects/")] == swept
    third = Mirror(tmp_path / "third", objects)
    third.fetching.sync("phantom")
    assert third.read("phantom/a") == "1"


def test_a_scope_that_was_removed_is_removed_from_other_mirrors(tmp_path):
    objects = MemoryObjects()
    here, there = Mirror(tmp_path / "here", objects), Mirror(tmp_path / "there", objects)
    here.write("phantom/versions/1/a", "1")
    here.publishing.flush_all()
    scope = here.local.scope(here.local.folder / "phantom/versions/1/a")
    there.fetching.sync(scope)
    assert there.read("phantom/versions/1/a") == "1"
    here.manifests.remove(scope)
    there.fetching.sync(scope)
    assert not (there.local.folder / "phantom/versions/1/a").exists()


def test_a_seal_that_something_on_the_way_changes_is_not_written(tmp_path, monkeypatch):
    """Not even beside the one before, while the new content is on its way."""
    objects = MemoryObjects()
    here, there = Mirror(tmp_path / "here", objects), Mirror(tmp_path / "there", objects)
    name, seals = "phantom/a.sha256", [f"{digit * 64}  a\n" for digit in "01"]
    for seal in seals:
        here.write(name, seal)
        here.publishing.flush_all()
        if seal == seals[0]:
            there.fetching.sync("phantom")
    manifest, get = here.manifests.read("phantom"), objects.get
    with monkeypatch.context() as patch:
        patch.setattr(objects, "get", lambda name: Found(get(name).body.replace(b"1", b"2"), ""))
        there.fetching._announce(manifest, name)
    assert there.read(name) == seals[0]
    there.fetching._announce(manifest, name)
    assert there.read(name) == "".join(seals)


def test_a_file_that_something_on_the_way_changes_is_not_set_aside(tmp_path, monkeypatch):
    objects = MemoryObjects()
    here, there = Mirror(tmp_path / "here", objects), Mirror(tmp_path / "there", objects)
    here.write("phantom/a", "1" * 100)
    here.publishing.flush_all()
    kept, asked = dict(objects.kept), []

    def download(name, path):
        asked.append(name)
        path.write_bytes(kept[name].body[:-1] + bytes([len(asked)]))
        return True

    with monkeypatch.context() as patch:
        patch.setattr(objects, "download", download)
        with pytest.raises(StoreError, match="phantom/a comes from the store with other wrong bytes each time"):
            there.fetching.sync("phantom")
    assert objects.kept == kept
    there.fetching.sync("phantom")
    assert there.read("phantom/a") == "1" * 100
