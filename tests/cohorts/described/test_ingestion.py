"""A described export through all stages: rows are studies and rejects, nobody can be told, and changes are noticed."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from cohorts.errors import CohortError
from cohorts.phantom.config import PhantomConfig
from cohorts.phantom.layouts import layout_writer
from cohorts.phantom.simulated import simulate_studies
from ingestion.inventory import InventorySettings, listed_root
from ingestion.pipeline import IngestionSettings, keep_ready, update
from ingestion.stages.images import ImagesSettings
from ingestion.stages.reports import ReportsSettings
from ingestion.versions import writing
from ingestion.workspace import Workspace
from pipelines.automation import archive_digest
from store import batches

STUDIES = 20
SETTINGS = IngestionSettings(
    inventory=InventorySettings(views=("frontal", "lateral")),
    images=ImagesSettings(size=32),
    reports=ReportsSettings(required=()),
)
IDENTIFIERS = re.compile(rb"P-\d|U-\d+-\d|PAT4711|\d\d\.\d\d\.20(19|20)")
SPOILT = {  # what is changed in the last rows of the manifest -> their reasons
    "missing_file": {"Aufnahme": "Bilder/99/none.png"},
    "path_outside_root": {"Aufnahme": "../outside.png"},
    "no_patient": {"PatNr": ""},
    "bad_date": {"Datum": "gestern"},
}


@pytest.fixture
def there(tmp_path) -> Workspace:
    """The simulated export, saved again as a spreadsheet of a German system does, with rows that cannot be used."""
    root = tmp_path / "export"
    layout_writer("archive")(root, simulate_studies(PhantomConfig(studies=STUDIES, height=64), STUDIES))
    rows = list(csv.DictReader(io.StringIO((root / "Aufnahmen.csv").read_text(encoding="utf-8-sig"), newline="")))
    for row, cells in zip(rows[-len(SPOILT) :], SPOILT.values(), strict=True):
        row.update({"Zweite Aufnahme": "", "Projektion": "p.a.", "Untersuchung": "PAT4711", **cells})
    write_manifest(root, rows)
    return Workspace(home=str(tmp_path / "home"), cohort="archive", archive_root=str(root / "archive.yaml"))


def write_manifest(root, rows) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    (root / "Aufnahmen.csv").write_bytes(stream.getvalue().encode("latin-1"))


def read(workspace, stage):
    return pq.read_table(workspace.folder(stage) / f"{stage}.parquet").to_pylist()


def ingest(workspace) -> list[str]:
    lines: list[str] = []
    update(workspace, SETTINGS, lines.append, progress=False)
    return lines


def batches_of(workspace, stage) -> set[str]:
    return {batch.fingerprint for batch in batches.read_plan(workspace.folder(stage)).batches}


def test_every_row_is_a_study_or_a_reject_and_nobody_can_be_told(there):
    lines = ingest(there)
    studies, rejects = read(there, "studies"), read(there, "rejects")
    with (there.root() / "Aufnahmen.csv").open(encoding="latin-1", newline="") as file:
        named = sum(1 + bool(row["Zweite Aufnahme"]) for row in csv.DictReader(file, delimiter=";"))
    assert len(studies) + len(rejects) == named > STUDIES
    assert sorted(row["reason"] for row in rejects) == sorted(SPOILT)
    assert {row["sex"] for row in studies} == {"F", "M"}
    assert {row["device"] for row in studies} == {"Gerät 1", "Gerät 2", "Gerät 3"}
    assert all(row["age"] % 1 == 0.5 for row in studies)
    files = [path for path in there.home_path().rglob("*") if path.is_file()]
    assert [path for path in files if IDENTIFIERS.search(path.read_bytes())] == []
    tables = [pq.read_table(path) for path in files if path.suffix == ".parquet"]
    assert len(tables) > 10
    assert not any(IDENTIFIERS.search(str(table.to_pylist()).encode()) for table in tables)
    assert not IDENTIFIERS.search("".join(lines).encode())


def test_the_folder_and_the_description_in_it_are_the_same_archive(there):
    ingest(there)
    folder = replace(there, archive_root=str(there.root()))
    text = f"root: {there.root()}\n" + (there.root() / "archive.yaml").read_text(encoding="utf-8")
    for other in (folder, replace(there, archive_root="", description=text)):
        assert other.root() == there.root()
        assert "0 of 1 batches to compute, the others are there" in ingest(other)
    assert listed_root(there) == str(there.root())
    with writing(there, print):
        assert keep_ready(there)["root"] == str(there.root())
    with pytest.raises(CohortError, match="no absolute folder"):
        ingest(replace(folder, description="manifest: a.csv\ncolumns: {image: a, patient: none}"))


def test_a_changed_description_is_a_change_of_what_it_says(there):
    ingest(there)
    before = {stage: batches_of(there, stage) for stage in ("inventory", "images", "reports", "shards")}
    path = there.root() / "archive.yaml"
    listing = archive_digest(there.root(), there.watched_files())
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Edema: Edema", "Oedema: Edema"), encoding="utf-8")
    assert archive_digest(there.root(), there.watched_files()) != listing
    ingest(there)
    assert batches_of(there, "inventory") != before["inventory"]
    assert batches_of(there, "shards") != before["shards"]
    assert (batches_of(there, "images"), batches_of(there, "reports")) == (before["images"], before["reports"])
    assert any("Oedema" in dict(row["labels"]) for row in read(there, "studies"))
    path.write_text(text.replace("report: {text: Befund}", "report: {sections: {findings: Befund}}"), encoding="utf-8")
    ingest(there)
    assert batches_of(there, "reports") != before["reports"]
    assert batches_of(there, "images") == before["images"]


def test_an_image_behind_a_link_out_of_the_root_is_a_reject(there, tmp_path):
    image = there.root() / "Bilder" / "00" / "00000.png"
    (tmp_path / "outside.png").write_bytes(image.read_bytes())
    image.unlink()
    image.symlink_to(tmp_path / "outside.png")
    ingest(there)
    assert ("image", "path_outside_root") in {(row["stage"], row["reason"]) for row in read(there, "rejects")}
    assert "Bilder/00/00000.png" not in {row["image_path"] for row in read(there, "studies")}


def test_a_mistake_in_the_description_is_one_sentence_wherever_the_archive_is_asked_for(there):
    (there.root() / "archive.yaml").write_text("manifst: a.csv")
    for ask in (there.root, there.open_cohort, there.watched_files, lambda: ingest(there)):
        with pytest.raises(CohortError, match="did you mean `manifest`"):
            ask()
