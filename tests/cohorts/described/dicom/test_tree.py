import os
import shutil
import zlib

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedPDFStorage,
    SecondaryCaptureImageStorage,
)

from cohorts.described.description import Description
from cohorts.described.dicom import index
from cohorts.described.dicom.tree import DicomTree
from cohorts.errors import CohortError
from tests.cohorts.described.dicom.export import (
    reasons,
    scan_tree,
    studies,
    write_directory,
    write_object,
)


def test_a_radiograph_becomes_a_study_with_its_facts_and_without_its_identifiers(tmp_path):
    write_object(tmp_path / "tree" / "a" / "b" / "IM0001", 1)
    write_object(tmp_path / "tree" / "b.DCM", 2, preamble=False, PatientAge=None, PatientBirthDate="19700131")
    scan = scan_tree(tmp_path)
    first, second = (studies(scan)[path] for path in ("a/b/IM0001", "b.DCM"))
    assert (first["view"], first["sex"], first["age"], first["device"]) == ("PA", "F", 45, "ACME Ray 3")
    assert second["age"] == pytest.approx(50, abs=0.01)
    assert first["date"] != "2020-01-31"
    assert first["site"] == second["site"]
    assert first["site"].startswith("site-")
    shown = str(scan.studies.drop_columns(["image_path"]).to_pylist())
    for secret in ("PAT0001", "1.2.4.1", "1.2.3.1", "A00001", "Elsewhere", "Doe", "1970"):
        assert secret not in shown


def test_sites_and_dates_are_kept_where_the_description_says_so(tmp_path):
    write_object(tmp_path / "tree" / "a", 1)
    (study,) = scan_tree(tmp_path, "keep_sites: true\ndates: keep").studies.to_pylist()
    assert (study["site"], study["date"]) == ("St. Elsewhere", "2020-01-31")


def test_images_of_a_study_share_it_and_those_of_a_patient_share_a_split(tmp_path):
    for number, view in enumerate(("PA", "LATERAL")):
        write_object(tmp_path / "tree" / f"{number}", number, StudyInstanceUID="1.9", PatientID="P", ViewPosition=view)
    write_object(tmp_path / "tree" / "2", 2, PatientID="P")
    rows = scan_tree(tmp_path).studies.to_pylist()
    assert len({row["study_id"] for row in rows}) == 2
    assert len({row["subject_id"] for row in rows}) == 1
    assert [row["view"] for row in rows] == ["PA", "LATERAL", "PA"]
    assert set(reasons(scan_tree(tmp_path, views=("frontal",))).items()) == {("1", "view_not_chosen")}


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("no_image", {"SOPClassUID": EncapsulatedPDFStorage, "Rows": None, "SamplesPerPixel": None, "PixelData": None}),
        ("other_modality", {"Modality": "CT"}),
        ("other_modality", {"Modality": "OT", "BodyPartExamined": None}),
        ("other_body_part", {"BodyPartExamined": "KNEE"}),
        ("other_body_part", {"BodyPartExamined": None, "SeriesDescription": "Hand links dp"}),
        ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("localizer", {"SeriesDescription": "Scout"}),
        ("screenshot", {"SOPClassUID": SecondaryCaptureImageStorage, "SeriesDescription": "Screen Save"}),
        ("several_frames", {"NumberOfFrames": 2}),
        ("no_subject", {"PatientID": " "}),
        ("no_study", {"StudyInstanceUID": None}),
        ("", {"Modality": "RG"}),
        ("", {"Modality": None}),
        ("", {"BodyPartExamined": None}),
        ("", {"NumberOfFrames": 1}),
        ("", {"SOPClassUID": SecondaryCaptureImageStorage}),
    ],
)
def test_what_is_no_chest_radiograph_is_a_reject_with_its_reason(tmp_path, reason, changes):
    write_object(tmp_path / "tree" / "a", 1, **changes)
    scan = scan_tree(tmp_path)
    assert (reasons(scan).get("a", ""), scan.source_rows) == (reason, 1)


def test_of_the_same_object_and_of_an_image_for_processing_one_is_kept(tmp_path):
    tree, series = tmp_path / "tree", {"SeriesInstanceUID": "1.5", "StudyInstanceUID": "1.4"}
    write_object(tree / "a", 1)
    write_object(tree / "b", 1)
    write_object(tree / "c", 2, PresentationIntentType="FOR PRESENTATION", **series)
    write_object(tree / "d", 3, PresentationIntentType="FOR PROCESSING", **series)
    write_object(tree / "e", 4, PresentationIntentType="FOR PROCESSING")
    write_object(tree / "f", 5, SOPClassUID=DigitalXRayImageStorageForProcessing, **series)
    assert reasons(scan_tree(tmp_path)) == {"b": "duplicate_id", "d": "for_processing", "f": "for_processing"}


def test_a_damaged_copy_does_not_hide_the_image(tmp_path):
    write_object(tmp_path / "tree" / "a", 1, PatientID=None)
    write_object(tmp_path / "tree" / "b", 1)
    assert reasons(scan_tree(tmp_path)) == {"a": "no_subject"}


def test_a_hostile_tree_ends_in_rejects_and_opens_nothing_outside(tmp_path):
    tree = tmp_path / "tree"
    whole = write_object(tree / "good", 1).read_bytes()
    (tree / "cut.dcm").write_bytes(whole[:300])
    (tree / "cut_later").write_bytes(whole[: whole.index(b"ACME")])
    (tree / "empty.dcm").touch()
    (tree / "empty").touch()
    (tree / "image.png").write_bytes(b"\x89PNG")
    (tree / "old.dcm.gz").write_bytes(b"\x1f\x8b\x08")
    (tree / "bomb").write_bytes(_deflated_bomb())
    for name, head in (("zeros.dcm", b""), ("lies", b"\0" * 128 + b"DICM\x08\0\x20\0UN\0\0\0\xff\xff\x3f")):
        with (tree / name).open("wb") as file:
            file.write(head)
            file.truncate(1 << 30)  # sparse
    write_object(tmp_path / "tree" / "..odd" / "IM1", 7)
    for name in ("notes.txt", "README", "report.pdf", "Thumbs.db", ".hidden"):
        (tree / name).write_bytes(b"text")
    os.mkfifo(tree / "pipe")
    write_object(tmp_path / "elsewhere", 2)
    for name, target in (
        ("out", tmp_path / "elsewhere"),
        ("folder", tmp_path),
        ("loop", "loop"),
        ("up", "."),
        ("twin", "good"),
    ):
        (tree / name).symlink_to(target)
    deep = tree.joinpath(*["d"] * 200)
    write_object(deep / "x", 3)
    scan = scan_tree(tmp_path)
    assert sorted(studies(scan)) == [deep.relative_to(tree).as_posix() + "/x", "good"]
    assert reasons(scan) == {
        **dict.fromkeys(("cut.dcm", "cut_later", "bomb", "lies"), "unreadable_header"),
        **dict.fromkeys(("empty.dcm", "empty", "image.png", "zeros.dcm"), "not_dicom"),
        **dict.fromkeys(("pipe", "loop"), "not_a_file"),
        **dict.fromkeys(("out", "folder"), "path_outside_root"),
        "old.dcm.gz": "packed_file",
        "twin": "duplicate_id",
    }
    assert scan.notes[0].startswith("5 other files")  # archive.yaml too
    assert scan.notes[1].startswith("2 files and folders whose names begin with a point")


def _deflated_bomb() -> bytes:
    syntax = DeflatedExplicitVRLittleEndian.encode().ljust(22, b"\0")
    meta = b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax
    head = b"\0" * 128 + b"DICM\x02\0\0\0UL\x04\0" + len(meta).to_bytes(4, "little") + meta
    element = b"\x08\0\x20\0UN\0\0" + (1 << 29).to_bytes(4, "little")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return head + packer.compress(element + b"\0" * (1 << 26)) + packer.flush()


def test_a_name_that_is_no_utf_8_is_a_reject(tmp_path):
    write_object(tmp_path / "tree" / "good", 1)
    os.link(tmp_path / "tree" / "good", os.fsencode(tmp_path / "tree") + b"/b\xff")
    assert reasons(scan_tree(tmp_path)) == {"b\\xff": "unreadable_name"}


def test_a_deflated_file_is_read(tmp_path):
    write_object(tmp_path / "tree" / "a", 1, syntax=DeflatedExplicitVRLittleEndian)
    assert scan_tree(tmp_path).studies.num_rows == 1


def test_a_folder_that_may_not_be_listed_ends_the_run(tmp_path, monkeypatch):
    write_object(tmp_path / "tree" / "a" / "b", 1)
    listing = os.scandir

    def scandir(path):
        if str(path).endswith("/a/"):
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr("cohorts.described.dicom.files.os.scandir", scandir)
    with pytest.raises(CohortError, match="may not be opened"):
        scan_tree(tmp_path)


def test_a_dicomdir_tells_what_is_missing_and_never_where_else_to_look(tmp_path):
    tree = tmp_path / "tree"
    for number, name in enumerate(("disc/DATA/im1", "disc/extra", "other/x")):
        write_object(tree / name, number)
    write_directory(
        tree / "disc" / "DICOMDIR", [["DATA", "IM1"], ["DATA", "IM2"], ["..", "..", "etc", "passwd"], "GONE"]
    )
    scan = scan_tree(tmp_path)
    assert sorted(studies(scan)) == ["disc/DATA/im1", "disc/extra", "other/x"]
    assert reasons(scan) == {
        "disc/DATA/IM2": "missing_file",
        "disc/GONE": "missing_file",
        "disc/../../etc/passwd": "path_outside_root",
    }
    assert any(note.startswith("1 DICOM files are not named") for note in scan.notes)


def test_an_unchanged_tree_is_not_opened_again(tmp_path, monkeypatch):
    tree, opened = tmp_path / "tree", []
    for number in range(3):
        write_object(tree / f"{number}", number)
    (tree / "notes.txt").write_text("x")
    reading = index.open_file
    monkeypatch.setattr(index, "open_file", lambda path, most: opened.append(path.name) or reading(path, most))
    first = scan_tree(tmp_path)
    assert sorted(opened) == ["0", "1", "2", "archive.yaml", "notes.txt"]
    del opened[:]
    assert scan_tree(tmp_path).studies.equals(first.studies)
    assert opened == ["archive.yaml"]  # the description was written again
    write_object(tree / "1", 7)
    (tree / "2").unlink()
    write_object(tree / "3", 3)
    del opened[:]
    assert sorted(studies(scan_tree(tmp_path))) == ["0", "1", "3"]
    assert sorted(opened) == ["1", "3", "archive.yaml"]


def test_headers_that_were_changed_in_the_home_are_read_again(tmp_path):
    write_object(tmp_path / "tree" / "a", 1)
    first = scan_tree(tmp_path)
    cache = tmp_path / "home" / "archive" / "headers.parquet"
    assert cache.stat().st_mode & 0o077 == 0
    cache.write_bytes(cache.read_bytes()[:-1] + b"x")
    assert scan_tree(tmp_path).studies.equals(first.studies)
    assert cache.with_name("headers.parquet.damaged").exists()


@pytest.mark.parametrize(
    "description", ["labels: {Effusion: E}", "columns: {patient: P}", "report: {text: T}", "report: {file: F}"]
)
def test_columns_without_a_table_are_a_mistake(tmp_path, description):
    write_object(tmp_path / "tree" / "a", 1)
    with pytest.raises(CohortError, match="no table"):
        scan_tree(tmp_path, description)


def test_real_files_are_told_apart(tmp_path, shared_data):
    (tmp_path / "tree").mkdir()
    for path in sorted((shared_data / "dicom_samples").glob("*/*.dcm")):
        shutil.copy(path, tmp_path / "tree" / path.stem)
    scan = scan_tree(tmp_path)
    assert {path: row["view"] for path, row in studies(scan).items()} == {
        "cxr_nema_rg1_j2k_lossy_15bit_mono1": "PA",
        "cxr_siim_fake_monochrome1": "PA",
    }
    assert reasons(scan) == {
        "cxr_siim_jpeg_baseline_8bit_mono2": "duplicate_id",  # of the one above, whose pixels were edited
        "extremity_nema_rg3_j2k_lossless_10bit_mono1": "other_body_part",
        "extremity_nema_rg3_j2k_lossy_10bit_mono1": "other_body_part",
        "mesa_modality_lut_12bit_signed": "other_modality",
        "mesa_voi_lut_8bit": "other_modality",
    }


def test_a_tree_on_object_storage_is_read(tmp_path):
    from upath import UPath

    root = UPath(f"memory:///{tmp_path.name}/tree")
    image = write_object(tmp_path / "a", 1).read_bytes()
    for name, content in {"x/a": image, "x/cut.dcm": image[:300], "notes.txt": b"text"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    rows = DicomTree(Description(), root, tmp_path / "home").list_rows()
    assert rows[["image_path", "reason"]].to_numpy().tolist() == [["x/a", ""], ["x/cut.dcm", "unreadable_header"]]
