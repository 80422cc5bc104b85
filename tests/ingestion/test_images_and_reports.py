"""Batches of studies to rows: what cannot be used is rejected with its reason, and the counts add up."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pytest

from cohorts.readers.mimic_cxr import MimicCxr
from cohorts.tables import REJECTS
from imaging.decode import read_grey
from imaging.letterbox import letterbox
from ingestion.stages.images import decode_batch, images_schema
from ingestion.stages.reports import section_batch
from report_parsing.reports import ReportOptions
from report_parsing.tables import REPORTS

pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")
SIZE = 32


@pytest.fixture
def archive(mimic):
    """Eight studies of one DICOM image each."""
    mimic.extension = ".dcm"
    for number in range(8):
        mimic.add(f"image{number}", study=f"5000000{number}")
    cohort = MimicCxr(mimic.close())
    return cohort, cohort.scan().studies


def path(cohort, studies, row, column="image_path"):
    return cohort.root / studies[column][row].as_py()


def test_images_are_letterboxed_in_order(archive):
    cohort, studies = archive
    images, rejects = decode_batch(cohort.root, studies, SIZE)
    assert images.schema == images_schema(SIZE)
    assert rejects.schema.equals(REJECTS, check_metadata=True)
    assert (len(images), len(rejects)) == (8, 0)
    assert images["image_id"].to_pylist() == studies["image_id"].to_pylist()
    for row in range(8):
        pixels = np.frombuffer(images["pixels"][row].as_py(), np.uint8).reshape(SIZE, SIZE)
        expected = letterbox(read_grey(path(cohort, studies, row)), SIZE).astype(int)
        assert np.abs(pixels - expected).max() <= 1
    assert set(images["height"].to_pylist()) == {50}
    assert set(images["width"].to_pylist()) == {40}


def test_images_are_squashed_on_request(archive):
    cohort, studies = archive
    (boxed, _), (squashed, _) = (decode_batch(cohort.root, studies, SIZE, squash=squash) for squash in (False, True))
    assert squashed["height"].equals(boxed["height"])
    for row in range(8):
        pixels = np.frombuffer(squashed["pixels"][row].as_py(), np.uint8).reshape(SIZE, SIZE)
        expected = letterbox(read_grey(path(cohort, studies, row)), SIZE, squash=True).astype(int)
        assert np.abs(pixels - expected).max() <= 1
        assert squashed["pixels"][row] != boxed["pixels"][row]


def test_hostile_images_are_rejected_with_their_reasons(archive, tmp_path_factory, caplog, capfd):
    cohort, studies = archive
    whole = path(cohort, studies, 0).read_bytes()
    header = whole[: whole.index(b"\xe0\x7f\x10\x00")]
    path(cohort, studies, 0).write_bytes(whole[:-1000])
    path(cohort, studies, 1).write_bytes(header)
    path(cohort, studies, 2).write_text("FINDINGS: The lungs are clear.\n" * 30)
    path(cohort, studies, 3).write_bytes(bytes(128) + b"DICM" + b"FINDINGS: clear.\n" * 30)
    path(cohort, studies, 4).write_bytes(b"")
    path(cohort, studies, 5).unlink()
    outside = tmp_path_factory.mktemp("outside") / "image.dcm"
    outside.write_bytes(whole)
    path(cohort, studies, 6).unlink()
    path(cohort, studies, 6).symlink_to(outside)
    with caplog.at_level(logging.DEBUG):
        images, rejects = decode_batch(cohort.root, studies, SIZE)
    assert images["image_id"].to_pylist() == ["image7"]
    assert rejects["image_id"].to_pylist() == [f"image{number}" for number in range(7)]
    assert rejects["reason"].to_pylist() == [
        "truncated_dicom",
        "no_pixels",
        "not_an_image",
        "not_an_image",
        "not_an_image",
        "missing_file",
        "path_outside_root",
    ]
    assert set(rejects["stage"].to_pylist()) == {"image"}
    assert rejects["source_path"].to_pylist() == studies["image_path"].to_pylist()[:7]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_one_reports_row_per_study_and_a_reject_per_image(mimic):
    mimic.add("a1", study="50000001")
    mimic.add("a2", study="50000001")
    mimic.add("b1", study="50000002", report="IMPRESSION: Clear lungs, no effusion.")
    mimic.add("b2", study="50000002", report="IMPRESSION: Clear lungs, no effusion.")
    mimic.add("c1", study="50000003", report=" \n")
    cohort = MimicCxr(mimic.close())
    reports, rejects = section_batch(cohort, cohort.scan().studies, ReportOptions())
    assert reports.schema.equals(REPORTS, check_metadata=True)
    assert reports["study_id"].to_pylist() == ["50000001"]
    row = reports.to_pylist()[0]
    assert (row["cohort"], row["findings"], row["impression"]) == ("mimic_cxr", "The lungs are clear.", "No edema.")
    assert [row["report"][s["start"] : s["end"]] for s in row["sentences"]] == ["The lungs are clear.", "No edema."]
    assert rejects["image_id"].to_pylist() == ["b1", "b2", "c1"]
    assert rejects["reason"].to_pylist() == ["no_findings", "no_findings", "empty_report"]
    assert set(rejects["stage"].to_pylist()) == {"report"}
    assert all(source.endswith(".txt") for source in rejects["source_path"].to_pylist())


def test_options_reach_the_parser(mimic):
    mimic.add("b1", report="IMPRESSION: Clear lungs, no effusion.")
    cohort = MimicCxr(mimic.close())
    reports, rejects = section_batch(cohort, cohort.scan().studies, ReportOptions(required=()))
    assert (len(reports), len(rejects)) == (1, 0)


def test_empty_batch(archive):
    cohort, studies = archive
    nothing = studies.slice(0, 0)
    assert [len(table) for table in decode_batch(cohort.root, nothing, SIZE)] == [0, 0]
    assert [len(table) for table in section_batch(cohort, nothing, ReportOptions())] == [0, 0]


def test_batch_cut_from_the_middle_of_a_table(archive):
    cohort, studies = archive
    images, _ = decode_batch(cohort.root, pa.concat_tables([studies.slice(2, 3), studies.slice(6, 1)]), SIZE)
    assert images["image_id"].to_pylist() == ["image2", "image3", "image4", "image6"]
