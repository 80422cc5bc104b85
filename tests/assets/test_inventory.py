from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from assets import batches, inventory
from cohorts.base import Scan
from cohorts.tables import REJECTS, STUDIES


@dataclass
class Archive:
    """A stand-in for a cohort: a file per image, and reports in files or, without a path, in a table."""

    root: Path
    notes: dict[str, str] = field(default_factory=dict)
    name: str = "archive"
    report_style: str = "free"

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
                "view": "PA",
                "split": "train",
                "report_path": None if self.notes else f"{path.stem.split('-')[0]}.txt",
            }
            for path in sorted(self.root.glob("*.jpg"))
        ]
        return Scan(pa.Table.from_pylist(rows, schema=STUDIES), REJECTS.empty_table(), len(rows))

    def read_report(self, study):
        return self.notes[study["study_id"]]


def take(archive, folder, size=2):
    plan, outcomes = inventory.take_inventory(folder, archive, archive.scan(), size)
    return plan, [outcome.name for outcome in outcomes if outcome.computed]


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
    assert [len(names) for names in plan.settings["members"].values()] == [2, 1]
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
    assert after.settings["members"]["b00002"] == ["s0", "s2"]


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
    plan, computed = take(archive, folder)
    assert computed == ["b00000"]
    assert plan.settings["members"] == {"b00000": ["s1"], "b00001": ["s3"]}
    (archive.root / "s3-0.jpg").unlink()
    plan, computed = take(archive, folder)
    assert (computed, list(plan.settings["members"])) == ([], ["b00000"])
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
    plan, _ = take(archive, folder, size=3)
    assert plan.settings["members"] == {"b00000": ["s1", "s2", "s3"]}
