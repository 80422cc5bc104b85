"""Requests to a store that is busy, breaks off and answers not, and what is said of one that cannot be used."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import threading
from io import BytesIO
from pathlib import Path

import pytest

from store.remote.protocol import checks
from store.remote.protocol import objects as module
from store.remote.protocol.address import Address
from store.remote.protocol.errors import StoreError
from store.remote.protocol.objects import Found, Objects
from tests.store.remote.memory import MemoryObjects

BODY = b"0123456789" * 1000


@pytest.fixture
def objects(url):
    return Objects(Address.parse(url), patience=20)


@pytest.fixture
def shaken(objects, proxy, monkeypatch):
    """The same objects through a proxy that makes faults."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    yield Objects(objects.address, patience=20)
    proxy.set()


def test_objects_are_written_read_listed_and_removed(objects, tmp_path):
    file = tmp_path / "file"
    objects.upload("a/one", BytesIO(BODY), len(BODY))
    objects.put("a/two", b"2")
    assert objects.get("a/one").body == BODY
    assert objects.head("a/one").size == len(BODY)
    assert -2 < objects.head("a/one").age < 60
    assert objects.read_range(objects.address.key("a/one"), 5, 12) == BODY[5:12]
    assert [(one.name, one.size) for one in objects.list("a/")] == [("a/one", len(BODY)), ("a/two", 1)]
    objects.delete("a/one")
    assert objects.get("a/one") is None
    assert objects.head("a/one") is None
    assert not objects.download("a/one", file)


def test_bytes_that_an_object_does_not_have_are_not_there(objects, monkeypatch):
    objects.put("one", BODY)
    key = objects.address.key("one")
    assert objects.read_range(key, len(BODY) - 3, len(BODY) + 5) == BODY[-3:]
    assert objects.read_range(key, len(BODY), len(BODY) + 5) == b""
    assert objects.read_range(objects.address.key("gone"), 0, 5) == b""
    get = objects.client.get_object
    monkeypatch.setattr(objects.client, "get_object", lambda Bucket, Key, **_: get(Bucket=Bucket, Key=Key))  # noqa: N803
    with pytest.raises(StoreError, match="answers a request for a part of an object with more than that"):
        objects.read_range(key, 3, 5)


def test_a_full_disk_is_not_taken_for_a_store_that_is_away(objects):
    objects.put("one", BODY)
    with pytest.raises(OSError, match="No space left") as caught:
        objects.download("one", Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC


def test_a_long_file_is_written_in_parts_and_no_part_stays_where_that_fails(objects, monkeypatch):
    monkeypatch.setattr("store.remote.protocol.objects.LONGEST", 1 << 20)
    monkeypatch.setattr("store.remote.protocol.objects.PART", 5 << 20)
    content = BODY * 1100  # three parts, the last one shorter
    objects.upload("long", BytesIO(content), len(content))
    assert objects.get("long").body == content

    def fail(**_):
        raise ValueError("a fault of this process")

    with monkeypatch.context() as patch:
        patch.setattr(objects.client, "complete_multipart_upload", fail)
        with pytest.raises(StoreError):
            objects.upload("other", BytesIO(content), len(content))
    assert objects.get("other") is None
    assert not objects.client.list_multipart_uploads(Bucket=objects.address.bucket).get("Uploads")


def test_a_long_file_is_there_although_the_answer_to_its_last_request_was_lost(objects, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", len(BODY) - 1)
    complete, lost = objects.client.complete_multipart_upload, [ConnectionError()]

    def lose(**given):
        answer = complete(**given)
        if lost:
            raise lost.pop()
        return answer

    monkeypatch.setattr(objects.client, "complete_multipart_upload", lose)
    objects.upload("long", BytesIO(BODY), len(BODY))
    assert objects.get("long").body == BODY
    monkeypatch.setattr(objects.client, "complete_multipart_upload", _have_lost)
    with pytest.raises(StoreError, match="has lost the parts of other"):
        objects.upload("other", BytesIO(BODY), len(BODY))


def _have_lost(**_):
    error = Exception("as botocore raises it")
    error.response = {"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    raise error


def test_a_damaged_object_that_is_too_long_to_be_copied_is_removed(objects, monkeypatch):
    for name in ("short", "long"):
        objects.put(name, BODY)
        objects.set_aside(name)
        monkeypatch.setattr(module, "LONGEST", len(BODY) - 1)
    assert [one.name for one in objects.list("")] == ["short.damaged"]


def test_a_listing_of_more_than_a_page_is_whole(objects):
    events, name = objects.client.meta.events, "before-parameter-build.s3.ListObjectsV2"
    for number in range(5):
        objects.put(f"n/{number}", b"")
    events.register(name, _small_pages)
    try:
        assert [one.name for one in objects.list("n/")] == [f"n/{number}" for number in range(5)]
    finally:
        events.unregister(name, _small_pages)


def _small_pages(params, **_):
    params["MaxKeys"] = 2


def test_a_write_has_its_effect_only_if_its_condition_holds(objects):
    first = objects.put_if("one", b"first", None)
    assert first is not None
    assert objects.put_if("one", b"other", None) is None
    assert objects.put_if("one", b"other", '"0123"') is None
    assert objects.put_if("gone", b"other", first) is None
    second = objects.put_if("one", b"second", first)
    assert objects.get("one").body == b"second"
    assert objects.get("one", known=second) == Found(b"", second)
    assert objects.get("gone", known=second) is None
    assert objects.put_if("one", b"late", first) is None


def test_busy_answers_and_broken_bodies_are_healed(shaken, proxy, tmp_path):
    proxy.set(slow_down=0.2, half_close=0.2, lost_reply=0.1)
    copy = tmp_path / "copy"
    for number in range(12):
        body = BODY + bytes([number])
        shaken.upload(f"many/{number}", BytesIO(body), len(body))
        assert shaken.get(f"many/{number}").body == body
        assert shaken.download(f"many/{number}", copy)
        assert copy.read_bytes() == body
        assert shaken.read_range(shaken.address.key(f"many/{number}"), 1, 9000) == body[1:9000]
    counts = proxy.counts()
    assert min(counts["slow_down"], counts["half_close"], counts["lost_reply"]) > 0


def test_a_conditional_write_whose_answer_was_lost_is_known_to_be_ours(objects, shaken, proxy):
    proxy.set(lost_reply=0.5)
    etag = None
    for number in range(8):
        etag = shaken.put_if("chain", b"%d" % number, etag)
        assert etag is not None
    proxy.set()
    assert objects.get("chain").body == b"7"
    assert shaken.put_if("chain", b"other", None) is None


@pytest.mark.parametrize(
    ("changes", "bucket", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "stranger"}, "", "refuses the credentials"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "", "no credentials"),
        ({}, "elsewhere", "no bucket elsewhere"),
        ({"AWS_ENDPOINT_URL": "http://user:pass@127.0.0.1:{free}"}, "", "cannot be reached"),
        ({"AWS_ENDPOINT_URL": "no address"}, "", "cannot be used"),
        ({"AWS_ENDPOINT_URL": "http://[::1"}, "", "no address of a server"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence_without_secrets(url, monkeypatch, changes, bucket, said, tmp_path):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for name, value in changes.items():
            monkeypatch.setenv(name, value.format(free=free.getsockname()[1]))
        address = Address.parse(url)
        with pytest.raises(StoreError, match=said) as caught:
            list(Objects(Address(bucket or address.bucket, address.prefix), patience=0.3).list(""))
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert not any(secret in text for secret in ("secret", "pass@", "user:", "stranger"))


@pytest.mark.parametrize("url", ["gs://bucket/home", "s3://", "s3:///home", "s3://UPPER/home", "s3://bucket/../x"])
def test_an_address_that_is_none_is_one_sentence(url):
    with pytest.raises(StoreError, match="s3://bucket/prefix") as caught:
        Address.parse(url)
    assert "UPPER" not in str(caught.value)


def test_a_store_that_honours_conditions_passes_the_check(objects):
    checks.expect_conditions(objects, "http://store")
    assert list(objects.list("")) == []


def test_a_store_that_ignores_conditions_is_refused():
    class Careless(MemoryObjects):
        def put_if(self, name, body, etag):
            self.put(name, body)
            return self.kept[name].etag

    with pytest.raises(StoreError, match="http://store does not honour conditional writes"):
        checks.expect_conditions(Careless(), "http://store")


def exit_status_of_a_child(objects, forked) -> int | None:
    """That of a forked process which reads an object, after `forked` was set here; None where it hangs."""
    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=lambda: Objects(objects.address).get("one") or os._exit(3))
    child.start()
    forked.set()
    child.join(20)
    status = child.exitcode
    child.kill()
    return status


def test_a_process_that_is_forked_while_a_client_is_made_can_make_its_own(objects, monkeypatch):
    made, forked, making = module._make_client, threading.Event(), threading.Event()

    def make_slowly(*given):
        making.set()
        forked.wait(0.5)  # the fork has to wait for this thread
        return made(*given)

    objects.put("one", BODY)
    monkeypatch.setattr(module, "_make_client", make_slowly)
    thread = threading.Thread(target=lambda: Objects(objects.address).client)
    thread.start()
    making.wait()
    assert exit_status_of_a_child(objects, forked) == 0
    thread.join()


def test_a_process_that_is_forked_while_a_thread_waits_to_make_a_client_can_make_its_own(objects, monkeypatch):
    waiting, forked = threading.Event(), threading.Event()

    class Making:  # as a thread sees it while another one forks
        def __enter__(self):
            if threading.current_thread() is thread:
                waiting.set()
                forked.wait(30)

        def __exit__(self, *_):
            pass

    objects.put("one", BODY)
    monkeypatch.setattr(module, "_making", Making())
    thread = threading.Thread(target=lambda: Objects(objects.address).client)
    thread.start()
    waiting.wait()
    assert exit_status_of_a_child(objects, forked) == 0
    thread.join()
