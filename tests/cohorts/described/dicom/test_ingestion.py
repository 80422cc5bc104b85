"""An export as a hospital may give it, through all stages: a nested tree, and a table of reports in another order."""

import csv
import random

import pyarrow.parquet as pq
import pytest

from cohorts.described.dicom import index
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.simulated import simulate_studies
from ingestion.inventory import InventorySettings
from ingestion.pipeline import IngestionSettings, update
from ingestion.stages.images import ImagesSettings
from ingestion.workspace import Workspace
from tests.cohorts.described.dicom.export import write_object

SETTINGS = IngestionSettings(inventory=InventorySettings(views=("frontal", "lateral")), images=ImagesSettings(size=64))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    root, rows = folder / "export", []
    for study in simulate_studies(PhantomConfig(height=64), 24):
        place = root / f"Doe_{study.patient}" / f"{study.index}"
        facts = {"PatientID": f"PID{study.subject_id}", "PatientName": "Doe^Jane", "PatientAge": f"{study.age:03d}Y"}
        write_object(place / "1", study.index, study.pixels, ViewPosition=study.view, **facts)
        if study.lateral is not None:
            same = {"StudyInstanceUID": f"1.2.4.{study.index}", "AccessionNumber": f"A{study.index:05d}", **facts}
            words = {"ViewPosition": None, "SeriesDescription": "W Thorax seitlich"}
            write_object(place / "2.DCM", 1000 + study.index, study.lateral, **same, **words)
        rows.append((f"A{study.index:05d}", study.report))
    (root / "broken.dcm").touch()
    random.Random(0).shuffle(rows)
    with (root / "befunde.csv").open("w", encoding="latin-1", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("Auftragsnr", "Befund"), *rows[2:]])
    (root / "archive.yaml").write_text("report: {table: befunde.csv, key: Auftragsnr, text: Befund}\n")
    workspace = Workspace(home=str(folder / "home"), cohort="archive", archive_root=str(root))
    update(workspace, SETTINGS, progress=False)
    return workspace


def read(workspace, stage):
    paths = [
        path
        for path in workspace.folder(stage).glob("*.parquet")
        if not path.name.endswith((".rejects.parquet", "plan.parquet"))
    ]
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_every_file_is_a_study_or_a_reject(workspace):
    studies, rejects = (read(workspace, stage) for stage in ("studies", "rejects"))
    files = [path for path in workspace.root().rglob("*") if path.is_file() and path.suffix not in (".csv", ".yaml")]
    assert len(studies) + len(rejects) == len(files)
    assert sum(row["reason"] == "not_dicom" for row in rejects) == 1
    assert len({row["study_id"] for row in rejects if row["reason"] == "no_report"}) == 2
    assert {row["view"] for row in studies} == {"PA", "AP", "LATERAL"}
    assert len(read(workspace, "shards")) == len(studies)


def test_a_study_has_its_own_report(workspace):
    reports = {row["study_id"]: row["report"] for row in read(workspace, "reports")}
    expected = {study.index: study.report for study in simulate_studies(PhantomConfig(height=64), 24)}
    for row in read(workspace, "studies"):
        number = int(row["image_path"].split("/")[-2])
        assert expected[number].strip() in reports[row["study_id"]]


def where(workspace, words):
    """The folders of the home with a file that has one of some words; the headers and the key are left out."""
    found = set()
    for path in workspace.home_path().rglob("*"):
        if path.is_file() and path.name not in ("headers.parquet", "key"):
            is_table = path.suffix == ".parquet"
            shown = str(pq.read_table(path).to_pylist()) if is_table else path.read_bytes().decode("latin-1")
            found |= {path.parent.name} if any(word in shown for word in words) else set()
    return found


def test_no_identifier_leaves_the_headers(workspace):
    assert where(workspace, ["Doe^Jane", "St. Elsewhere", "1.2.4.", "A0000", "20200131", "2020-01-31", "PID1"]) == set()


def test_paths_stay_in_the_tables_of_the_images(workspace):
    assert where(workspace, ["Doe_"]) == {"inventory", "studies", "rejects"}


def test_another_night_opens_no_known_header_and_computes_nothing(workspace, monkeypatch):
    def fail(*_):
        raise AssertionError("a header was opened again")

    monkeypatch.setattr(index, "open_file", fail)
    lines = []
    update(workspace, SETTINGS, log=lines.append, progress=False)
    assert "0 of 1 batches to compute, the others are there" in lines
