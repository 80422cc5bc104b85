"""What is seen of a home on object storage before its store is asked: where its mirror lies, and its variables."""

from __future__ import annotations

import pytest

from store.errors import UserError
from store.remote import home, mirror
from store.remote.disks import network_disk
from store.remote.protocol.errors import StoreError

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
login:/home /home nfs4 rw 0 0
tmpfs /home/a\\040b/.cache tmpfs rw 0 0
autofs /data autofs rw 0 0
store:/data /data lustre rw 0 0
"""
ADDRESS = "s3://bucket/home"


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    found = {
        place: network_disk(tmp_path.__class__(place), mounts)
        for place in ("/home/c/.cache/radalign", "/home/a b/.cache/radalign", "/homes/c", "/data/mirror", "/")
    }
    assert found == {
        "/home/c/.cache/radalign": "nfs4",
        "/home/a b/.cache/radalign": "",
        "/homes/c": "",
        "/data/mirror": "lustre",
        "/": "",
    }
    assert network_disk(tmp_path) == ""


def test_a_mirror_that_other_machines_may_share_is_refused_before_any_request_unless_it_was_named(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(home, "network_disk", lambda folder: "nfs4")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("RADALIGN_HOME", ADDRESS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(home, "FIRST_PATIENCE", 0.2)
    for name in (mirror.VARIABLE, mirror.KNOWN):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreError, match=r"lies on a network disk \(nfs4\).*: set RADALIGN_MIRROR, or XDG_CACHE_HOME"):
        mirror.refresh(mirror.mirror_of(ADDRESS))
    monkeypatch.setenv(mirror.VARIABLE, str(tmp_path / "named"))
    with pytest.raises(StoreError, match="cannot be reached"):
        mirror.refresh(mirror.mirror_of(ADDRESS))


@pytest.mark.parametrize(
    ("name", "given"),
    [("RADALIGN_CACHE_BYTES", "20 GB"), ("RADALIGN_FETCH_BYTES", "0"), ("RADALIGN_LEASE_SECONDS", "-5")],
)
def test_a_variable_that_is_no_number_is_refused_before_any_request(tmp_path, monkeypatch, name, given):
    monkeypatch.setenv("RADALIGN_HOME", ADDRESS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv(mirror.VARIABLE, str(tmp_path))
    monkeypatch.delenv(mirror.KNOWN, raising=False)
    monkeypatch.setenv(name, given)
    with pytest.raises(UserError, match=rf"^{name} is '?{given}'?, "):
        mirror.refresh(mirror.mirror_of(ADDRESS))


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch):
    for name in ("XDG_CACHE_HOME", mirror.VARIABLE, mirror.KNOWN):
        monkeypatch.delenv(name, raising=False)

    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(mirror.Path, "home", staticmethod(nobody))
    with pytest.raises(UserError, match="this user has none of its own: set RADALIGN_MIRROR to an empty folder"):
        mirror.mirror_of(ADDRESS)
