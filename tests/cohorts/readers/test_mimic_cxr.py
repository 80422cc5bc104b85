"""MIMIC-CXR in every shape it is downloaded in, and every way a row can fail."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from cohorts.errors import CohortError
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import chexpert_labels
from cohorts.readers.mimic_cxr import MimicCxr
from cohorts.registry import open_cohort
from cohorts.tables import BOX, FACTS, STUDIES
from report_parsing.errors import ReportError
from tests.cohorts.scans import check, rejected

IDS = [f"{number:08x}-00000000-00000000-00000000-00000000" for number in range(12)]


@pytest.mark.parametrize("extension", [".jpg", ".dcm"])
@pytest.mark.parametrize("gzipped", [True, False])
@pytest.mark.parametrize(
    ("tables", "release"),
    [
        ("", ""),
        ("mimic-cxr-jpg/2.1.0", "mimic-cxr-jpg/2.1.0"),
        ("2.0.0", "2.0.0"),
        ("", "mimic-cxr/2.0.0"),
        ("physionet.org/files/mimic-cxr-jpg/2.0.0", "physionet.org/files/mimic-cxr/2.0.0"),
    ],
)
def test_published_layouts(mimic, extension, gzipped, tables, release):
    mimic.extension, mimic.gzipped, mimic.tables, mimic.release = extension, gzipped, tables, release
    path = mimic.add(IDS[0], view="AP", split="validate")
    mimic.chexpert.append(("10000032", "50414267", "1.0", "", "-1.0"))
    scan = MimicCxr(mimic.close()).scan()
    check(scan)
    row = scan.studies.to_pylist()[0]
    assert row == {
        "cohort": "mimic_cxr",
        "subject_id": "10000032",
        "study_id": "50414267",
        "image_id": IDS[0],
        "image_path": path,
        "view": "AP",
        "split": "validate",
        "report_path": str(Path(path).parent) + ".txt",
        "labels": [("Atelectasis", 1.0), ("No Finding", -1.0)],
        "boxes": None,
        "masks": None,
        "shapes": None,
        **dict.fromkeys(field.name for field in FACTS),
    }
    assert MimicCxr(mimic.root).read_report(row).startswith("FINAL REPORT")


def test_every_way_a_row_can_fail(mimic):
    mimic.add(IDS[0])
    mimic.add(IDS[1], view="LATERAL")
    mimic.add(IDS[2], view="")
    mimic.add(IDS[3], split=None)
    mimic.add(IDS[4], split="holdout")
    mimic.add(IDS[5], image=False)
    mimic.add(IDS[6], subject="10000099", study="59999999", report=None)
    mimic.add(IDS[0])
    mimic.metadata.append(("../../../etc/passwd", "10000032", "50414267", "PA"))
    mimic.metadata.append((IDS[7], "../1", "50414267", "PA"))
    mimic.metadata.append((IDS[8], "", "50414267", "PA"))
    scan = MimicCxr(mimic.close()).scan()
    check(scan)
    assert scan.studies["image_id"].to_pylist() == [IDS[0]]
    assert rejected(scan) == {
        IDS[1]: "view_not_chosen",
        IDS[2]: "view_not_chosen",
        IDS[3]: "no_split",
        IDS[4]: "no_split",
        IDS[5]: "missing_file",
        IDS[6]: "missing_report",
        f"{IDS[0]}#2": "duplicate_id",
        "../../../etc/passwd": "path_outside_root",
        IDS[7]: "path_outside_root",
        IDS[8]: "path_outside_root",
    }
    assert set(scan.rejects["stage"].to_pylist()) == {"scan"}


def test_rows_stay_in_the_order_of_the_metadata(mimic):
    for number in (5, 1, 9, 3):
        mimic.add(IDS[number], study=f"5000000{number}")
    scan = MimicCxr(mimic.close()).scan()
    assert scan.studies["image_id"].to_pylist() == [IDS[5], IDS[1], IDS[9], IDS[3]]


def test_images_of_one_release_and_reports_of_the_other(mimic):
    mimic.tables, mimic.release = "mimic-cxr-jpg/2.0.0", "mimic-cxr-jpg/2.0.0"
    path = mimic.add(IDS[0], report=None)
    for release in ("mimic-cxr/2.0.0", "mimic-cxr-reports"):
        report = mimic.root / release / Path(path).parent.relative_to(mimic.release)
        report.parent.mkdir(parents=True)
        report.with_suffix(".txt").write_text("FINDINGS: clear")
        row = MimicCxr(mimic.close()).scan().studies.to_pylist()[0]
        assert row["image_path"] == path
        assert row["report_path"].startswith(release)
        report.with_suffix(".txt").unlink()


def test_images_come_from_one_place_only(mimic):
    for number in range(3):
        mimic.extension = ".dcm"
        mimic.add(IDS[number])
        mimic.extension = ".jpg"
        mimic.metadata.pop(), mimic.split.pop()
        mimic.add(IDS[number], image=number == 0)
    scan = MimicCxr(mimic.close()).scan()
    assert {Path(path).suffix for path in scan.studies["image_path"].to_pylist()} == {".dcm"}
    assert len(scan.studies) == 3


def test_study_without_labels_and_archive_without_labels(mimic):
    mimic.add(IDS[0])
    mimic.add(IDS[1], study="50000001")
    mimic.add(IDS[2], study="50000002")
    assert MimicCxr(mimic.close()).scan().studies["labels"].to_pylist() == [None] * 3
    mimic.chexpert += [("10000032", "50000001", "0.0", "1.0", ""), ("10000032", "50000002", "", "", "")]
    labels = MimicCxr(mimic.close()).scan().studies["labels"].to_pylist()
    assert labels == [None, [("Atelectasis", 0.0), ("Edema", 1.0)], []]


@pytest.mark.parametrize("label", ["2", "inf", "0.5", "yes"])
def test_a_label_that_is_none_is_said(mimic, label):
    mimic.add(IDS[0], study="50000001")
    mimic.chexpert += [("10000032", "50000001", "1.0", label, "")]
    with pytest.raises(CohortError, match="has values of Edema other than 1, 0, -1 and nothing; fetch it again"):
        MimicCxr(mimic.close()).scan()


def test_radiologists_labels_of_test_studies_take_the_place_of_mined_ones(mimic):
    mimic.add(IDS[0], study="50000001", split="test")
    mimic.add(IDS[1], study="50000002", split="test")
    mimic.chexpert += [("10000032", "50000001", "1.0", "1.0", ""), ("10000032", "50000002", "0.0", "", "1.0")]
    mimic.close()
    name = "mimic-cxr-2.1.0-test-set-labeled.csv"
    (mimic.root / name).write_text("study_id,Airspace Opacity,Edema\n50000001,1.0,-1.0\n50000001,0.0,0.0\n")
    labels = [dict(row) for row in MimicCxr(mimic.root).scan().studies["labels"].to_pylist()]
    assert labels == [{"Lung Opacity": 1.0, "Edema": -1.0}, {"Atelectasis": 0.0, "No Finding": 1.0}]


@pytest.mark.parametrize(("layout", "suffix"), [("mimic_cxr", ".dcm"), ("mimic_cxr_jpg", ".jpg")])
def test_simulated_releases(simulated, tmp_path, layout, suffix):
    layout_writer(layout)(tmp_path, simulated)
    cohort = MimicCxr(tmp_path)
    scan = cohort.scan()
    check(scan)
    assert set(rejected(scan).values()) == {"view_not_chosen"}
    assert scan.source_rows == len(simulated) + sum(study.lateral is not None for study in simulated)
    for row, study in zip(scan.studies.to_pylist(), simulated, strict=True):
        assert (row["image_id"], row["view"], row["split"]) == (study.image_id, study.view, study.split)
        assert row["image_path"].endswith(f"{study.image_id}{suffix}")
        assert cohort.read_report(row) == study.report
        statements = dict.fromkeys(study.masks, 1) if study.split == "test" else study.statements
        expected = {name: value for name, value in chexpert_labels(statements).items() if value is not None}
        assert dict(row["labels"]) == expected
    listed = tmp_path / "mimic-cxr-jpg/2.1.0/IMAGE_FILENAMES"
    assert listed.exists() == (suffix == ".jpg")
    assert not listed.exists() or len(listed.read_text().splitlines()) == scan.source_rows


class Annotated(MimicCxr):
    name = "annotated"

    def labels(self) -> pa.Table:
        return pa.table({"image_id": [IDS[1]], "labels": pa.array([[("nodule", 1.0)]], STUDIES.field("labels").type)})

    def boxes(self) -> pa.Table:
        box = {"label": "nodule", "x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}
        return pa.table({"image_id": [IDS[1], IDS[0]], "boxes": pa.array([[box], []], pa.list_(BOX))})


def test_subclass_brings_its_own_labels_and_boxes(mimic):
    for number in range(3):
        mimic.add(IDS[number])
    scan = Annotated(mimic.close()).scan()
    check(scan)
    assert scan.studies["labels"].to_pylist() == [None, [("nodule", 1.0)], None]
    assert [boxes if boxes is None else len(boxes) for boxes in scan.studies["boxes"].to_pylist()] == [0, 1, None]
    assert set(scan.studies["cohort"].to_pylist()) == {"annotated"}


def test_missing_tables_are_named_with_the_way_to_get_them(mimic):
    mimic.add(IDS[0])
    mimic.close()
    for kind in ("split", "metadata"):
        (mimic.root / f"mimic-cxr-2.0.0-{kind}.csv.gz").unlink()
        with pytest.raises(CohortError) as caught:
            MimicCxr(mimic.root).scan()
        for words in (f"mimic-cxr-2.0.0-{kind}.csv", str(mimic.root), "RADALIGN_MIMIC_CXR_ROOT", "PhysioNet"):
            assert words in str(caught.value)


def test_missing_root_and_unknown_name(tmp_path):
    with pytest.raises(CohortError, match=r"RADALIGN_MIMIC_CXR_ROOT.*not a folder.*PhysioNet"):
        open_cohort("mimic_cxr", tmp_path / "absent")
    with pytest.raises(CohortError, match="mimic_cxr"):
        open_cohort("mimic", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bnot gzip", b"a,b\n1,2\n", b'"dicom_id\n'])
def test_damaged_tables(mimic, content):
    mimic.add(IDS[0])
    mimic.gzipped = content.startswith(b"\x1f")
    mimic.close()
    (mimic.root / f"mimic-cxr-2.0.0-metadata.csv{'.gz' if mimic.gzipped else ''}").write_bytes(content)
    with pytest.raises(CohortError, match=r"metadata\.csv"):
        MimicCxr(mimic.root).scan()


def test_empty_archive(mimic):
    scan = MimicCxr(mimic.close()).scan()
    check(scan)
    assert scan.source_rows == 0


def test_files_folder_that_is_a_link_out_of_the_archive(mimic, tmp_path_factory):
    mimic.add(IDS[0])
    mimic.close()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "files"
    (mimic.root / "files").rename(elsewhere)
    (mimic.root / "files").symlink_to(elsewhere)
    with pytest.raises(CohortError, match="is a link out of"):
        MimicCxr(mimic.root).scan()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"  \n", "empty_report"), (b"a\0b", "unreadable_report"), (b"x" * 2_000_000, "unreadable_report")],
)
def test_reports_that_are_none(mimic, content, reason):
    mimic.add(IDS[0])
    cohort = MimicCxr(mimic.close())
    row = cohort.scan().studies.to_pylist()[0]
    (mimic.root / row["report_path"]).write_bytes(content)
    with pytest.raises(ReportError) as caught:
        cohort.read_report(row)
    assert caught.value.reason == reason


def test_report_paths_that_lead_nowhere_or_out(mimic, tmp_path_factory):
    secret = tmp_path_factory.mktemp("secret") / "file.txt"
    secret.write_text("secret")
    (mimic.root / "link.txt").symlink_to(secret)
    cohort = MimicCxr(mimic.root)
    for path in ("absent.txt", "../file.txt", str(secret), "link.txt"):
        with pytest.raises(ReportError) as caught:
            cohort.read_report({"report_path": path})
        assert caught.value.reason == "unreadable_report"
        assert "secret" not in str(caught.value)


def test_report_that_is_latin_1(mimic):
    mimic.add(IDS[0])
    cohort = MimicCxr(mimic.close())
    row = cohort.scan().studies.to_pylist()[0]
    (mimic.root / row["report_path"]).write_bytes("FINDINGS: 38 °C".encode("latin-1"))
    assert cohort.read_report(row) == "FINDINGS: 38 °C"
