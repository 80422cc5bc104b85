from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from cohorts.base import Scan
from cohorts.tables import REJECTS, STUDIES
from ingestion import inventory
from ingestion.members import name_batch, read_members
from store import batches


@dataclass
class Archive:
    """A stand-in for a cohort: a file per image, and reports in files or, without a path, in a table."""

    root: Path
    notes: dict[str, str] = field(default_factory=dict)
    name: str = "archive"
    report_style: str = "free"
    has_reports: bool = True
    split: str = "official"
    views: tuple[str, ...] = ("frontal",)
    view: str = "PA"

    def add(self, *studies, images=1):
        for study in studies:
            for image in range(images):
                (self.root / f"{study}-{image}.jpg").write_text("pixels")
            (self.root / f"{study}.txt").write_text("report")

    def scan(self):
        rows = [
            {
                "cohort": self.name,
                "subject_id": path.stem.split("-")[0],
                "study_id": path.stem.split("-")[0],
                "image_id": path.stem,
                "image_path": path.name,
                "view": self.view,
                "split": "train",
                "report_path": None if self.notes else f"{path.stem.split('-')[0]}.txt",
            }
            for path in sorted(self.root.glob("*.jpg"))
        ]
        return Scan(pa.Table.from_pylist(rows, schema=STUDIES), REJECTS.empty_table(), len(rows))

    def read_report(self, study):
        return self.notes[study["study_id"]]


def take(archive, folder, size=2):
    """The plan, and the batches that a later stage would compute: those with something new in them."""
    before = everything(batches.read_plan(folder))
    found = inventory.take_inventory(folder, archive, archive.scan(), size, lambda _: None)
    return found.plan, [name for name, content in everything(found.plan).items() if before.get(name) != content]


def everything(plan):
    return {batch.name: (batch.fingerprint, *batch.aspects.values()) for batch in plan.batches}


def members_of(folder, size=2):
    """Name of each batch -> its studies."""
    found = {}
    for row in read_members(folder, size, print).to_pylist():
        found.setdefault(name_batch(row["batch"]), []).append(row["study_id"])
    return found


def changes(archive, folder, size=2):
    """What an inventory says of each image that is not what it was."""
    found = inventory.take_inventory(folder, archive, archive.scan(), size, lambda _: None)
    told = dict(found.changes.to_pydict() and zip(*found.changes.to_pydict().values(), strict=True))
    return told, found.count_changes()


def make(tmp_path, **options):
    root = tmp_path / "archive"
    root.mkdir()
    archive = Archive(root, **options)
    return archive, tmp_path / "inventory"


def test_an_unchanged_archive_computes_nothing(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s2", "s3", images=2)
    plan, computed = take(archive, folder)
    assert computed == ["b00000", "b00001"]
    assert [len(names) for names in members_of(folder).values()] == [2, 1]
    assert batches.read_batches(folder).num_rows == 6  # all images of a study are in its batch
    assert take(archive, folder) == (plan, [])


def test_new_studies_cost_only_their_own_batch(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s3", "s5")
    before, _ = take(archive, folder)
    archive.add("s2", "s0")  # sorted between and before the known ones
    after, computed = take(archive, folder)
    assert computed == ["b00002"]
    assert after.batches[:2] == before.batches
    assert members_of(folder)["b00002"] == ["s0", "s2"]


def test_a_changed_file_changes_its_batch_only(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s2", "s3")
    take(archive, folder)
    (archive.root / "s3.txt").write_text("another report")
    assert take(archive, folder)[1] == ["b00001"]
    stamp = (archive.root / "s1-0.jpg").stat().st_mtime_ns + 1
    os.utime(archive.root / "s1-0.jpg", ns=(stamp, stamp))
    assert take(archive, folder)[1] == ["b00000"]


def test_a_vanished_study_changes_its_batch_and_an_empty_batch_goes(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s2", "s3")
    take(archive, folder)
    (archive.root / "s2-0.jpg").unlink()
    _, computed = take(archive, folder)
    assert computed == ["b00000"]
    assert members_of(folder) == {"b00000": ["s1"], "b00001": ["s3"]}
    (archive.root / "s3-0.jpg").unlink()
    _, computed = take(archive, folder)
    assert (computed, list(members_of(folder))) == ([], ["b00000"])
    archive.add("s9")
    assert take(archive, folder)[1] == ["b00001"]


def test_a_changed_note_in_a_table_changes_its_batch_only(tmp_path):
    archive, folder = make(tmp_path, notes={"s1": "one", "s2": "two", "s3": "three"})
    archive.add("s1", "s2", "s3")
    take(archive, folder)
    archive.notes["s3"] = "four"
    assert take(archive, folder)[1] == ["b00001"]


def test_another_batch_size_cuts_anew(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s2", "s3")
    take(archive, folder)
    take(archive, folder, size=3)
    assert members_of(folder, size=3) == {"b00000": ["s1", "s2", "s3"]}


def test_what_became_of_each_image_is_told(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1", "s2", "s3", "s4")
    told, counts = changes(archive, folder)
    assert (set(told.values()), counts) == ({"new"}, {"new": 4, "changed": 0, "vanished": 0})
    assert changes(archive, folder) == ({}, {"new": 0, "changed": 0, "vanished": 0})
    (archive.root / "s1-0.jpg").write_text("other pixels")
    (archive.root / "s2.txt").write_text("another report")
    (archive.root / "s3-0.jpg").unlink()
    archive.add("s5")
    told, counts = changes(archive, folder)
    assert told == {"s1-0": "image changed", "s2-0": "report changed", "s3-0": "vanished", "s5-0": "new"}
    assert counts == {"new": 1, "changed": 2, "vanished": 1}
    archive.view = "AP"
    assert set(changes(archive, folder)[0].values()) == {"row changed"}


def test_an_image_or_a_report_that_changed_costs_only_what_reads_it(tmp_path):
    archive, folder = make(tmp_path)
    archive.add("s1")

    def fingerprints():
        (batch,) = take(archive, folder)[0].batches
        return {"file": batch.fingerprint, **batch.aspects}

    def changed(before):
        return {name for name, value in fingerprints().items() if value != before[name]}

    before = fingerprints()
    (archive.root / "s1.txt").write_text("another report")
    assert changed(before) == {"file", inventory.TEXTS}  # the file of the batch has the stamps of what it names
    before = fingerprints()
    (archive.root / "s1-0.jpg").write_text("other pixels")
    assert changed(before) == {"file", inventory.IMAGES}
    before = fingerprints()
    archive.view = "AP"
    assert changed(before) == {"file"}
    before = fingerprints()
    archive.has_reports = False
    assert changed(before) == {"file", inventory.TEXTS}


def test_a_report_of_several_studies_is_followed_by_its_text(tmp_path):
    """The two-table form of an archive: every study's report is a row of one file."""
    archive, folder = make(tmp_path, notes={"s1": "one", "s2": "two"})
    archive.add("s1", "s2", images=2)
    take(archive, folder)
    archive.notes["s2"] = "three"
    told, _ = changes(archive, folder)
    assert told == {"s2-0": "report changed", "s2-1": "report changed"}
