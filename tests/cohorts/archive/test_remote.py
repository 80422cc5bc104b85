"""Archives on object storage: in memory, and on a server that speaks S3."""

from __future__ import annotations

import pickle
import sys

import pytest
from upath import UPath

from cohorts.archive import remote
from cohorts.archive.outages import OutageError
from cohorts.archive.paths import OutsideRootError, are_files, file_stamps, files_in, inside
from cohorts.errors import CohortError
from cohorts.readers.mimic_cxr import MimicCxr
from ingestion.stages.images import decode_batch
from ingestion.stages.reports import section_batch
from ingestion.stamps import join_stamps, read_stamps
from report_parsing.reports import ReportOptions

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom", "ignore:datetime.datetime.utcnow")
SIZE = 32


@pytest.fixture
def root(tmp_path):
    """A folder of an object storage that lives as long as the test."""
    root = UPath(f"memory:///{tmp_path.name}/archive")
    (root / "there").touch()
    yield root
    root.fs.rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture(scope="module")
def bucket():
    """A bucket on a server of this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        root = remote.as_root("s3://archives/mimic/")
        root.fs.mkdir("archives")
        yield root
        server.stop()


def upload(folder, root):
    for path in folder.rglob("*"):
        if path.is_file():
            root.joinpath(path.relative_to(folder).as_posix()).write_bytes(path.read_bytes())


def archive(mimic):
    mimic.extension = ".dcm"
    for number in range(3):
        mimic.add(f"image{number}", study=f"5000000{number}")
    mimic.add("gone", study="50000003", image=False)
    mimic.add("empty", study="50000004", report=" \n")
    return mimic.close()


def test_an_archive_on_s3_gives_the_tables_of_the_same_archive_on_disk(mimic, bucket):
    folder = archive(mimic)
    upload(folder, bucket)
    tables = []
    for cohort in (MimicCxr(folder), MimicCxr(bucket)):
        scan = cohort.scan()
        decoded = decode_batch(cohort.root, scan.studies, SIZE)
        sectioned = section_batch(cohort, scan.studies, ReportOptions())
        tables.append([scan.studies, scan.rejects, *decoded, *sectioned])
    here, there = tables
    assert here[0].num_rows == 4
    assert [table.num_rows for table in here[2:]] == [4, 0, 3, 1]
    assert all(one.equals(other) for one, other in zip(here, there, strict=True))


def test_an_image_that_vanishes_or_is_cut_short_meanwhile_is_rejected(mimic, bucket):
    upload(archive(mimic), bucket)
    cohort = MimicCxr(bucket)
    studies = cohort.scan().studies
    first, second = (bucket.joinpath(path) for path in studies["image_path"].to_pylist()[:2])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-2000])
    _, rejects = decode_batch(cohort.root, studies, SIZE)
    assert rejects["reason"].to_pylist() == ["missing_file", "truncated_dicom"]


def test_a_storage_that_does_not_answer_ends_the_run_instead_of_rejecting(root, mimic, monkeypatch):
    upload(archive(mimic), root)
    cohort = MimicCxr(root)
    studies = cohort.scan().studies

    def fail(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(root.fs), "open", fail)
    with pytest.raises(CohortError, match=r"cannot be fetched \(ConnectionError\)"):
        decode_batch(cohort.root, studies, SIZE)
    with pytest.raises(CohortError, match=r"cannot be fetched \(ConnectionError\)"):
        section_batch(cohort, studies, ReportOptions())


@pytest.mark.parametrize("path", ["../other/secret.txt", "/archive/a.txt", "a/../../x", "", "a\\b", "..", "x\0y"])
def test_a_path_does_not_climb_out(root, path):
    (root.parent / "other" / "secret.txt").write_text("secret")
    with pytest.raises(OutsideRootError):
        inside(root, path)
    assert file_stamps(root, [path]) == [""]


@pytest.mark.parametrize("path", ["s3://other/x", "memory:///other/x", "file:///etc/passwd"])
def test_an_address_in_a_table_is_a_name_below_the_root(root, path):
    assert inside(root, path).path.startswith(root.path + "/")
    assert not inside(root, path).exists()


def test_stamps_change_with_the_content_and_are_empty_where_nothing_is(root):
    for name in ("a/1.txt", "a/b/2.txt", "c.txt"):
        (root / name).write_text("one")
    names = ["a/b/2.txt", "a/none.txt", "a/1.txt", "a", "c.txt", "../c.txt"]
    before = file_stamps(root, names)
    assert [bool(stamp) for stamp in before] == are_files(root, names).tolist() == [1, 0, 1, 0, 1, 0]
    (root / "a/1.txt").write_text("other")
    after = file_stamps(root, names)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False, True, True, True]
    assert file_stamps(root, []) == []
    assert list(files_in(root, root / "a")) == ["a/1.txt", "a/b/2.txt"]


def listed(cohort):
    """The studies of an archive with the stamps of their files."""
    studies = cohort.scan().studies
    return join_stamps(studies, read_stamps(cohort, studies, print))


@pytest.mark.parametrize("kind", ["root", "bucket"])
def test_an_object_that_is_not_what_was_listed_ends_the_run(mimic, request, kind):
    storage = request.getfixturevalue(kind)
    upload(archive(mimic), storage)
    cohort = MimicCxr(storage)
    studies = listed(cohort)
    assert decode_batch(cohort.root, studies, SIZE)[0].num_rows == 4
    assert section_batch(cohort, studies, ReportOptions())[0].num_rows == 3
    image, report = (storage.joinpath(studies[column][0].as_py()) for column in ("image_path", "report_path"))
    whole = image.read_bytes()
    image.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the same size
    with pytest.raises(OutageError, match="was changed after the archive was listed"):
        decode_batch(cohort.root, studies, SIZE)
    image.unlink()
    with pytest.raises(OutageError, match="is gone after the archive was listed"):
        decode_batch(cohort.root, studies, SIZE)
    report.unlink()
    with pytest.raises(OutageError, match="is gone after the archive was listed"):
        section_batch(cohort, studies, ReportOptions())


def test_a_root_travels_to_other_processes(root):
    assert pickle.loads(pickle.dumps(root)) == root


def test_a_local_file_is_not_copied(tmp_path):
    with remote.local_copy(tmp_path / "image.dcm") as path:
        assert path == tmp_path / "image.dcm"


@pytest.mark.parametrize("missing", ["upath", "s3fs"])
def test_packages_that_are_missing_are_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(CohortError, match=r"^s3://a/b is on object storage.*\[remote\]' in the checkout\.$"):
        remote.as_root("s3://a/b")


@pytest.mark.parametrize("address", ["nothing-like-it://bucket", "://"])
def test_an_address_that_nobody_knows_is_one_sentence(address):
    with pytest.raises(CohortError, match="no address of a storage"):
        remote.as_root(address)
